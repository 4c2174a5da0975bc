"""A whole run on balanced batches that is killed in the middle of an epoch asks what it would have asked."""

import random
import time

import pytest
import yaml

from tests.smoke.test_resume import finish, kill, start, wait_for
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.runs.flight import read_rollouts
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal

NUM_STEPS = 6


def write(folder, name, num_ranks):
    """Eight rows and batches of four: an epoch is two or more batches, and a kill after the third lies within one."""
    config = {
        "base": "tiny/twin/pairs",
        "output_dir": str(folder / name),
        "num_steps": NUM_STEPS,
        "micro_batch_size": 8 // num_ranks,
        "experience": {
            "source": {"type": "twin_pairs", "root": str(TINY / "twin"), "split": "all"},
            "prompts": {"balance": {"classes": ["yes", "no"]}},
            "num_rollouts": 2,
            "sampling": {"max_new_tokens": 3},
        },
        "checkpoints": {"every": 1, "keep": 2},
        "evaluation": None,
        "report_to": [],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def asked(folder):
    """Return the rows and the answers of each step, and its loss."""
    losses = [row["loss"] for row in read_journal(folder / "journal.jsonl")]
    lines = read_rollouts(RunFolder(folder))
    batches = [
        sorted(
            (line["sample"], line["place"], line["number"], line["completion"]) for line in lines if line["step"] == n
        )
        for n in range(1, NUM_STEPS + 1)
    ]
    assert len(losses) == NUM_STEPS and all(len(batch) == 8 for batch in batches)
    answers = {line["sample"]: line["answer"].lower() for line in lines}
    for batch in batches:
        rows = [answers[sample] for sample, _, number, _ in batch if number == 0]
        assert rows.count("yes") == rows.count("no") == 2
    return batches, losses


@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_killed_run_asks_what_it_would_have_asked(repository, tmp_path, num_ranks):
    finish(start(repository, write(tmp_path, "whole", num_ranks), num_ranks=num_ranks, port=29597))
    config = write(tmp_path, "killed", num_ranks)
    process = start(repository, config, num_ranks=num_ranks, port=29597)
    wait_for(tmp_path / "killed", 3, process)
    time.sleep(random.Random(num_ranks).random() * 0.2)
    kill(process)
    finish(start(repository, config, num_ranks=num_ranks, port=29597))
    assert asked(tmp_path / "killed") == asked(tmp_path / "whole")
