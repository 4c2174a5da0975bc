"""The stream of prompts: one count of what cannot be read for all ranks, and batches that stay balanced."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from tests.smoke.balanced_places import BATCH, Labelled, stream
from vlmzoo.data.collation import LengthPolicy
from vlmzoo.errors import DataError
from vlmzoo.experience import _prompts
from vlmzoo.experience._prompts import PromptStream, balanced_order
from vlmzoo.types import Sample, user

ENCODER = SimpleNamespace(encode_prompt=lambda sample: {"input_ids": [1]})


class Torn:
    """A hundred rows, of which every fourth cannot be read."""

    size = 100

    def sample(self, position):
        if position % 4 == 3:
            raise DataError(f"row {position} is torn")
        return Sample(messages=[user("?")], id=str(position), reference="yes")


def make(limit, **options):
    lengths = LengthPolicy(max_tokens=5, action="skip")
    return PromptStream(Torn(), ENCODER, lengths=lengths, corrupt_limit=limit, seed=0, **options)


class Meeting:
    """Two threads that stand for two ranks."""

    def __init__(self, monkeypatch):
        self.barrier, self.told, self.own = threading.Barrier(2, timeout=30), {}, threading.local()
        monkeypatch.setattr(_prompts, "rank", lambda: self.own.rank)
        monkeypatch.setattr(_prompts, "world_size", lambda: 2)
        monkeypatch.setattr(_prompts, "gather_over_ranks", self.gather)

    def gather(self, own):
        self.told[self.own.rank] = own
        self.barrier.wait()
        whole = [*self.told[0], *self.told[1]]
        self.barrier.wait()
        return whole

    def run(self, work):
        def of(rank):
            self.own.rank = rank
            return work()

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(of, range(2)))


def taken(limit, num):
    stream = make(limit)
    try:
        return stream.take(num), stream.corrupt.num
    except DataError as error:
        return str(error)


@pytest.mark.parametrize(("limit", "num"), [(0.3, 9), (0.3, 40), (0.1, 90)])
def test_what_cannot_be_read_is_counted_over_all_ranks_together(monkeypatch, limit, num):
    alone = taken(limit, num)
    both = Meeting(monkeypatch).run(lambda: taken(limit, num))
    assert both == [alone, alone]
    assert isinstance(alone, str) == (limit == 0.1)
    if isinstance(alone, str):
        assert "11 of " in alone and "more than `corrupt_limit` (10.0%)" in alone


def test_a_row_of_no_use_is_replaced_by_another_of_its_class():
    prompts = stream()
    for _ in range(6):
        rows = [int(prompts.prompt(place).sample.id) for place in prompts.take(BATCH)]
        assert [Labelled.labels[row] for row in rows].count("yes") == BATCH // 2
    assert prompts.cursor == 6 * BATCH and prompts.lengths.num_skipped > 0
    again = stream()  # as after a restart: places are read that were never looked at here
    assert [int(again.prompt(place).sample.id) for place in range(5 * BATCH, 6 * BATCH)] == rows
    assert again.lengths.num_skipped == 0


def test_a_class_of_which_nothing_can_be_used_ends_the_run():
    source = Labelled()
    encoder = SimpleNamespace(encode_prompt=lambda sample: {"input_ids": [1] * (9 if sample.reference == "no" else 1)})
    order = balanced_order(source, {}, batch_size=BATCH, seed=0)
    lengths = LengthPolicy(max_tokens=5, action="skip")
    prompts = PromptStream(source, encoder, lengths=lengths, corrupt_limit=0.1, seed=0, order=order)
    with pytest.raises(DataError, match="in a row were corrupt or longer than `prompts.max_tokens`"):
        prompts.take(BATCH)
