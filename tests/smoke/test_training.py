"""Whole runs at tiny size: train, save, evaluate, load back, report."""

import json
import os
import subprocess
import sys

import pytest

from vlmzoo.hub import load_model
from vlmzoo.runs.journal import read_journal

SMALL = [
    "num_steps=3",
    "micro_batch_size=2",
    "accumulation_steps=2",
    "samples_every=2",
    "eval_batch_size=4",
    *(
        f"evaluation.{label}.num_questions=4"
        for label in ("simple_image", "simple_text", "hard_image", "hard_text", "swapped_image")
    ),
    *(
        f"evaluation.{label}.max_new_tokens=8"
        for label in ("simple_image", "simple_text", "hard_image", "hard_text", "swapped_image")
    ),
]


def run(repository, *arguments, launcher=(sys.executable,)):
    command = [*launcher, "training/train.py", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_quickstart_config_goes_all_the_way_at_tiny_size(repository, tmp_path):
    folder = tmp_path / "run"
    code, output = run(repository, "configs/tiny/quickstart.yaml", f"output_dir={folder}", *SMALL)
    assert code == 0, output
    report = json.loads((folder / "report.json").read_text())
    for label in ("simple_image", "simple_text", "hard_image", "hard_text", "swapped_image"):
        assert 0 <= report[f"{label}_exact"] <= 1
        assert len((folder / "evaluation" / label / "generations.jsonl").read_text().splitlines()) == 4
    assert report["reload_identical"] is True
    assert report["train_seconds"] > 0 and report["peak_rss_mb"] > 0
    assert [line["step"] for line in read_journal(folder / "journal.jsonl")] == [1, 2, 3]
    assert len((folder / "samples.jsonl").read_text().splitlines()) == 10
    assert list((folder / "events").iterdir())
    resolved = json.loads((folder / "config.resolved.json").read_text())
    assert resolved["deepspeed"]["gradient_accumulation_steps"] == 2
    page = (folder / "report.html").read_text()
    assert "data:image/png;base64," in page and "simple_image" in page
    model, processor = load_model(folder / "final")
    assert model.processor is processor


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_ranks_train_at_every_zero_stage(repository, tmp_path, stage):
    folder = tmp_path / "run"
    launcher = ("torchrun", "--nproc-per-node", "2", "--master-port", "29541")
    arguments = [f"output_dir={folder}", f"deepspeed=zero{stage}", *SMALL, "samples_every=0"]
    code, output = run(repository, "configs/tiny/quickstart.yaml", *arguments, launcher=launcher)
    assert code == 0, output
    assert json.loads((folder / "report.json").read_text())["reload_identical"] is True


def test_a_fault_in_the_config_is_one_line_and_exit_code_2(repository, tmp_path):
    code, output = run(repository, "configs/tiny/quickstart.yaml", f"output_dir={tmp_path}", "optim.learnin_rate=1")
    assert code == 2
    assert "learnin_rate" in output and "learning_rate" in output and "Traceback" not in output
