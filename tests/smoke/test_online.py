"""Online preferences as a whole run, with a rank that never makes a pair."""

import json
import math
import os
import subprocess

import pytest
import yaml

from vlmzoo.runs.journal import read_journal
from vlmzoo.services.pair_making.spool import read_spool

NUM_STEPS = 6


def write(folder, name, **experience):
    config = {
        "base": "tiny/ovip",
        "output_dir": str(folder / name),
        "num_steps": NUM_STEPS,
        "micro_batch_size": 1,
        "accumulation_steps": 2,
        "experience": experience,
        "checkpoints": {"every": 1, "keep": 2},
        "evaluation": None,
        "report_to": [],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_rank_that_never_makes_a_pair_makes_nobody_wait(repository, tmp_path):
    path = write(tmp_path, "run", selection={"type": "ovip_code"}, judge={"type": "deaf_rank"})
    done = subprocess.run(
        ["torchrun", "--nproc-per-node", "2", "--master-port", "29593", "-m", "tests.smoke.online_ranks", str(path)],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    rows = read_journal(tmp_path / "run" / "journal.jsonl")
    assert [row["step"] for row in rows] == list(range(1, NUM_STEPS + 1))
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert all(row["online/idle"] >= 2 for row in rows)  # two pairs of weight 0 on the second rank, in each step
    assert sum(row["online/trained"] for row in rows) > 0 and any(row["grad_norm"] > 0 for row in rows)
    online = tmp_path / "run" / "online"
    kinds = [{row["event"] for row in read_spool(online / name)} for name in ("spool.jsonl", "spool.rank1.jsonl")]
    assert "pair" in kinds[0] and kinds[1] == {"prompt"}
    weights = [json.loads((tmp_path / f"weights-{rank}.json").read_text()) for rank in range(2)]
    assert weights[0] == weights[1]
