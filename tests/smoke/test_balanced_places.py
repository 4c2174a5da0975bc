"""Balanced batches: one order for any number of ranks, and the same after a run was stopped in mid-epoch."""

import json

import pytest
import torch.multiprocessing as mp

from tests.smoke.balanced_places import batches, stopped_and_resumed


def test_batches_go_on_where_they_were_stopped():
    whole, _ = batches(7)
    head, state = batches(3)
    tail, _ = batches(4, state)
    assert head + tail == whole
    assert all(len(set(batch)) > 1 for batch in whole)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_ranks_take_the_batches_of_one(tmp_path):
    whole, _ = batches(7)
    mp.spawn(stopped_and_resumed, args=(2, str(tmp_path / "meeting"), str(tmp_path / "out.json")), nprocs=2)
    assert json.loads((tmp_path / "out.json").read_text()) == whole
