"""Supervised fine-tuning: conversations in shuffled order, all of what the assistant says is a target."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from vlmzoo.data.collation import Collator, LengthPolicy
from vlmzoo.data.fetching import Encoder, Row, RowFetcher
from vlmzoo.data.packing import PackedCollator, pack_rows
from vlmzoo.data.sources import SOURCES, Source
from vlmzoo.distributed import sum_over_ranks
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._passed_over import MAX_SKIPS_IN_A_ROW, CorruptRows, nothing_of_use
from vlmzoo.outputs import Batch, Step
from vlmzoo.registry import NestedSpecs

__all__ = ["SupervisedExperience"]

Unit = list[dict[str, Any]]
"""What fills one line of a micro-batch: a row, or several that are packed."""


@EXPERIENCES.register(
    "supervised",
    source="LLaVA, arXiv:2304.08485, section 4.2",
    tiny={
        "source": {
            "type": "synthetic",
            "task": {
                "type": "consecutive_table_readout",
                "style": "compact",
                "num_rows": 2,
                "num_cols": 3,
                "path_cells": [2, 3],
            },
            "kinds": {"text": 1.0},
        },
    },
)
class SupervisedExperience:
    """Steps of conversations from a source.

    A step's units are sorted by length before they are cut into micro-batches, which saves padding and, since the
    denominators are those of the whole step, changes nothing else.

    Args:
        source: ``{type: name, …}`` for the source registry, or a source already built.
        max_tokens: longest conversation, visual tokens counted; None for no limit.
        on_too_long: what becomes of a longer one: ``refuse`` or ``skip``; it is never truncated.
        corrupt_limit: share of corrupt rows that are named, counted and passed over; above it the run fails.
        packing: whether several conversations share a line of up to ``max_tokens`` tokens; none sees another.
        packing_window: rows among which partners are sought.
        num_workers: processes that encode ahead of training.
        keep_rows: encoded rows that stay in memory, for small sources that are gone through many times; 0 keeps none.
        processor: encodes conversations.
        micro_batch_size: lines in one forward pass on this rank.
        accumulation_steps: forward passes in one step on this rank.
        seed: of the shuffling.

    Raises:
        ConfigError: if packing has no ``max_tokens`` to fill, or rows cannot be kept.
    """

    nested_specs: ClassVar[NestedSpecs] = {"source": SOURCES.check}

    brings: ClassVar[str] = "answers"

    def __init__(
        self,
        *,
        source: Mapping[str, Any] | Source,
        max_tokens: int | None = None,
        on_too_long: Literal["refuse", "skip"] = "refuse",
        corrupt_limit: float = 0.01,
        packing: bool = False,
        packing_window: int = 256,
        num_workers: int = 0,
        keep_rows: int = 0,
        processor: Encoder,
        micro_batch_size: int,
        accumulation_steps: int = 1,
        seed: int = 0,
    ) -> None:
        if packing and max_tokens is None:
            raise ConfigError("`packing` needs `max_tokens`, the length of a line that is filled.")
        if keep_rows < 0 or (keep_rows and num_workers):
            raise ConfigError(
                f"`keep_rows` must be zero or more, and zero with `num_workers`, but is {keep_rows} with {num_workers}."
            )
        self.source = SOURCES.build(source) if isinstance(source, Mapping) else source
        self.lengths = LengthPolicy(max_tokens=max_tokens, action=on_too_long)
        self.corrupt = CorruptRows(corrupt_limit, noun="row")
        self.fetcher = RowFetcher(self.source, processor, seed=seed, num_workers=num_workers, keep_rows=keep_rows)
        self.capacity = max_tokens if packing else None
        self.collate = (PackedCollator if packing else Collator)(
            pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs
        )
        self.micro_batch_size = micro_batch_size
        self.units_per_step = micro_batch_size * accumulation_steps
        self.window = packing_window if packing else self.units_per_step
        self._cursor = 0  # rows that this rank has looked at
        self._used = 0  # units of the present window that steps have taken
        self._at_window = self._counts()

    def __iter__(self) -> Iterator[Step]:
        """Iterate over steps without end; the loop says when it has had enough."""
        units = self._units()
        while True:
            taken = [next(units) for _ in range(self.units_per_step)]
            taken.sort(key=lambda unit: sum(len(row["input_ids"]) for row in unit))
            size = self.micro_batch_size
            micro_batches = [self._collated(taken[start : start + size]) for start in range(0, len(taken), size)]
            denominators = _denominators(micro_batches)
            yield Step(micro_batches=micro_batches, denominators=denominators, notes=self._notes())

    def state_dict(self) -> dict[str, Any]:
        """Return where this rank stands: the start of its window of rows, and how much of it steps have taken."""
        return {**self._at_window, "used": self._used}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken."""
        self._cursor = int(state["cursor"])
        self._used = int(state["used"])
        self.lengths.num_skipped = int(state["num_skipped"])
        self.corrupt.load_state_dict(state)
        self._at_window = self._counts()

    def _notes(self) -> dict[str, float]:
        """Return the rows that this rank has passed over since the run began."""
        return {"rows_too_long": float(self.lengths.num_skipped), "rows_corrupt": float(self.corrupt.num)}

    def _counts(self) -> dict[str, int]:
        return {"cursor": self._cursor, "num_skipped": self.lengths.num_skipped, **self.corrupt.state_dict()}

    def _units(self) -> Iterator[Unit]:
        """Iterate over units, window by window; a window is packed as a whole, so it can be packed again."""
        rows = self.fetcher.rows_from(self._cursor)
        while True:
            self._at_window = self._counts()
            window = [self._admitted(rows) for _ in range(self.window)]
            units = self._packed(window)
            for unit in units[self._used :]:
                self._used += 1
                yield unit
            self._used = 0

    def _packed(self, rows: Sequence[dict[str, Any]]) -> list[Unit]:
        if self.capacity is None:
            return [[row] for row in rows]
        lengths = [len(row["input_ids"]) for row in rows]
        return [[rows[index] for index in bin] for bin in pack_rows(lengths, capacity=self.capacity, window=len(rows))]

    def _collated(self, units: Sequence[Unit]) -> Batch:
        return self.collate(units if self.capacity is not None else [unit[0] for unit in units])  # type: ignore[arg-type]

    def _admitted(self, rows: Iterator[Row]) -> dict[str, Any]:
        """Return the next row that is neither corrupt nor too long.

        Raises:
            DataError: if too many are corrupt, or nothing of the source is short enough.
        """
        for _ in range(MAX_SKIPS_IN_A_ROW):
            row = next(rows)
            self._cursor += 1
            if row.encoded is None:
                self.corrupt.note(row.name, row.fault, num_seen=self._cursor)
            elif self.lengths.admits(row.encoded, name=row.name):
                return row.encoded
        raise nothing_of_use(
            MAX_SKIPS_IN_A_ROW, noun="conversations", option="max_tokens", max_tokens=self.lengths.max_tokens
        )


def _denominators(micro_batches: list[Batch]) -> dict[str, float]:
    counts = [batch.count() for batch in micro_batches]
    return sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]})
