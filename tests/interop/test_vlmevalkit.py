"""VLMEvalKit's own command line on a model of ours; run by ``make test-slow``, in an environment beside ours."""

import csv
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.interop import harness
from vlmzoo.data.vlmevalkit_table import write_table
from vlmzoo.evaluation import complete
from vlmzoo.scoring.harness_rules import kit_yes_no

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-vlmeval" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-vlmeval/.installed"),
]


@pytest.mark.timeout(1800)
def test_its_score_of_yes_and_no_is_that_of_our_rule(tmp_path):
    rows = harness.pope_rows()
    asked = [harness.sample_of(row["question"] + harness.SUFFIX, [row["picture"]]) for row in rows]
    (data := tmp_path / "data").mkdir()
    table = [
        replace(a, reference=r["answer"].title(), meta={"category": "all"}) for a, r in zip(asked, rows, strict=True)
    ]
    write_table(data / "LocalPOPE.tsv", table)
    described = {"class": "ImageYORNDataset", "dataset": "LocalPOPE"}
    (tmp_path / "run.json").write_text(json.dumps({"model": {"vlmzoo": {}}, "data": {"LocalPOPE": described}}))
    folder = harness.save_taught(tmp_path / "model")
    done = subprocess.run(
        [
            str(PYTHON), "-m", "vlmzoo.integrations.vlmevalkit",
            f"pretrained={folder}", "device=cpu", "dtype=float32", "max_new_tokens=32", "--",
            "--config", str(tmp_path / "run.json"), "--work-dir", str(tmp_path / "out"), "--judge", "exact_matching",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "LMUData": str(data), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )  # fmt: skip
    found = list((tmp_path / "out").rglob("*LocalPOPE*score.csv"))
    assert done.returncode == 0 and found, done.stdout[-3000:] + done.stderr[-3000:]
    with found[0].open() as file:
        overall = next(row for row in csv.DictReader(file) if row["split"] == "Overall")
    model = harness.taught_model()
    said = [complete(model, model.processor, [one], max_new_tokens=32)[0].text for one in asked]
    ours = [kit_yes_no(text, row["answer"], {}).score for text, row in zip(said, rows, strict=True)]
    assert float(overall["acc"]) == pytest.approx(100 * sum(ours) / len(ours))
    assert 0 < sum(ours) < len(ours)
