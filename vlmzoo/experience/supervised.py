"""Supervised fine-tuning: conversations in shuffled order, all of what the assistant says is a target."""

import random
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from vlmzoo.data.collation import Collator, LengthPolicy
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.sources import SOURCES, STRETCH
from vlmzoo.distributed import rank, sum_over_ranks, world_size
from vlmzoo.errors import DataError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.outputs import Batch, Step

__all__ = ["SupervisedExperience"]

_MAX_SKIPS_IN_A_ROW = 1000


@EXPERIENCES.register(
    "supervised",
    source="LLaVA, arXiv:2304.08485, section 4.2",
    tiny={
        "source": {
            "type": "synthetic",
            "task": {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3},
            "kinds": {"text": 1.0},
        },
    },
)
class SupervisedExperience:
    """Steps of conversations from a source.

    A step's rows are sorted by length before they are cut into micro-batches, which saves padding and, since the
    denominators are those of the whole step, changes nothing else.

    Args:
        source: ``{type: name, …}`` for the source registry.
        max_tokens: longest conversation, visual tokens counted; None for no limit.
        on_too_long: what becomes of a longer one: ``refuse`` or ``skip``; it is never truncated.
        processor: encodes conversations.
        micro_batch_size: rows in one forward pass on this rank.
        accumulation_steps: forward passes in one step on this rank.
        seed: of the shuffling.
    """

    def __init__(
        self,
        *,
        source: Mapping[str, Any],
        max_tokens: int | None = None,
        on_too_long: Literal["refuse", "skip"] = "refuse",
        processor: SampleEncoding,
        micro_batch_size: int,
        accumulation_steps: int = 1,
        seed: int = 0,
    ) -> None:
        self.source = SOURCES.build(source)
        self.policy = LengthPolicy(max_tokens=max_tokens, action=on_too_long)
        self.processor = processor
        self.collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
        self.micro_batch_size = micro_batch_size
        self.accumulation_steps = accumulation_steps
        self.seed = seed
        self._cursor = 0  # rows that this rank has looked at

    def __iter__(self) -> Iterator[Step]:
        """Iterate over steps without end; the loop says when it has had enough."""
        while True:
            rows = self._take(self.micro_batch_size * self.accumulation_steps)
            rows.sort(key=lambda row: len(row["input_ids"]))
            size = self.micro_batch_size
            micro_batches = [self.collate(rows[start : start + size]) for start in range(0, len(rows), size)]
            yield Step(micro_batches=micro_batches, denominators=_denominators(micro_batches))

    def state_dict(self) -> dict[str, Any]:
        """Return the cursor and the count of skipped rows of this rank."""
        return {"cursor": self._cursor, "num_skipped": self.policy.num_skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the cursor and the count of skipped rows."""
        self._cursor = int(state["cursor"])
        self.policy.num_skipped = int(state["num_skipped"])

    def _take(self, num_rows: int) -> list[dict[str, Any]]:
        """Encode the next rows of this rank: every ``world_size``-th of the shuffled source.

        Raises:
            DataError: if nothing of the source is short enough.
        """
        rows: list[dict[str, Any]] = []
        num_refused = 0
        while len(rows) < num_rows:
            sample = self.source.sample(self._position(rank() + self._cursor * world_size()))
            self._cursor += 1
            encoded = self.processor.encode(sample)
            if self.policy.admits(encoded, name=sample.id):
                rows.append(encoded)
                num_refused = 0
            elif (num_refused := num_refused + 1) >= _MAX_SKIPS_IN_A_ROW:
                raise DataError(
                    f"{num_refused} conversations in a row were longer than `max_tokens` ({self.policy.max_tokens}); "
                    "raise it."
                )
        return rows

    def _position(self, place: int) -> int:
        """Return the position in the source of the ``place``-th row of the run, shuffled anew every epoch."""
        size = self.source.size
        if size is None:  # in random order by itself; each seed has a stretch of its own
            return self.seed * STRETCH + place
        return _permutation(self.seed, place // size, size)[place % size]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> list[int]:
    order = list(range(size))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order


def _denominators(micro_batches: list[Batch]) -> dict[str, float]:
    counts = [batch.count() for batch in micro_batches]
    return sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]})
