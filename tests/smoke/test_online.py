"""Online preferences as a whole run: killed at any moment, and with a rank that never makes a pair."""

import json
import math
import os
import random
import subprocess
import time

import pytest
import yaml

from tests.smoke.test_resume import finish, kill, start, wait_for
from vlmzoo.runs.journal import read_journal
from vlmzoo.services.pair_making.spool import read_spool

NUM_STEPS = 6
POLICIES = {
    "ovip_code": {"selection": {"type": "ovip_code"}},
    "ovip_paper": {"selection": {"type": "ovip_paper"}, "judge": {"type": "object_f1", "noise": 3.0}},
}


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


def series(folder):
    rows = read_journal(folder / "journal.jsonl")
    assert [row["step"] for row in rows] == list(range(1, NUM_STEPS + 1))
    return [(row["loss"], row["grad_norm"], row["tokens"], row["online/trained"]) for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_that_is_killed_goes_on_to_the_last_bit_and_loses_and_doubles_nothing(repository, tmp_path, policy):
    finish(start(repository, write(tmp_path, "whole", **POLICIES[policy])))
    expected = series(tmp_path / "whole")
    assert any(trained > 0 for *_, trained in expected)
    config, draw = write(tmp_path, "killed", **POLICIES[policy]), random.Random(policy)
    for step in (2, 4):
        process = start(repository, config)
        wait_for(tmp_path / "killed", step, process)
        time.sleep(draw.random() * 0.3)  # while it samples, while services work, in a save, anywhere
        kill(process)
    finish(start(repository, config))
    assert series(tmp_path / "killed") == expected
    spools = [read_spool(tmp_path / name / "online" / "spool.jsonl") for name in ("whole", "killed")]
    assert spools[0] == spools[1]
    trained = [(row["place"], row["number"]) for row in spools[1] if row["event"] == "trained" and not row["is_replay"]]
    assert trained and len(trained) == len(set(trained))


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
