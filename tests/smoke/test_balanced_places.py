"""Balanced batches: one order for any number of ranks, and the same after a run was stopped in mid-epoch."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run(ranks, out, num_batches, *state):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    words = [*launch, "-m", "tests.smoke.balanced_places", str(out), str(num_batches), *map(str, state)]
    subprocess.run(words, check=True, timeout=300)
    return json.loads(out.read_text())["batches"]


def test_batches_are_those_of_an_uninterrupted_run_on_one_and_two_ranks(tmp_path):
    whole = run(1, tmp_path / "whole.json", 7)
    for ranks in (1, 2):
        head = run(ranks, tmp_path / f"head{ranks}.json", 3)
        tail = run(ranks, tmp_path / f"tail{ranks}.json", 4, tmp_path / f"head{ranks}.json")
        assert head + tail == whole
    assert all(len(set(batch)) > 1 for batch in whole)
