"""Rows of a source, encoded in order, by this process or ahead of time by others.

A row is a pure function of its position, so workers hold no random state and no cursor: what they have prepared and
nobody has taken is simply prepared again after a restart.
"""

import random
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.data.sources import STRETCH, Source
from vlmzoo.distributed import rank, world_size
from vlmzoo.errors import DataError
from vlmzoo.types import Sample

__all__ = ["Encoder", "Row", "RowFetcher", "position_at"]


class Encoder(Protocol):
    """Makes rows of samples: a processor, or what encodes several rows of one sample."""

    @property
    def padding_id(self) -> int:
        """The id that fills gaps."""
        ...

    @property
    def adapter_inputs(self) -> Mapping[str, AdapterInputs]:
        """What makes the inputs of the attached adapters, by label."""
        ...

    def encode(self, sample: Sample) -> dict[str, Any]:
        """Encode one sample; ``input_ids`` are those of its longest row.

        Raises:
            DataError: if the sample is corrupt.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a source, or why there is none.

    Args:
        name: the sample's id, or its position.
        encoded: as the processor's ``encode`` gives it; None for a corrupt row.
        fault: what is wrong with a corrupt row.
    """

    name: str
    encoded: dict[str, Any] | None = None
    fault: str | None = None


class RowFetcher:
    """Gives the rows of this rank from any cursor on: every ``world_size``-th of the shuffled source.

    Args:
        source: addressed by position.
        processor: encodes.
        seed: of the shuffling; every epoch has an order of its own.
        num_workers: processes that encode ahead; 0 encodes in this one.
        prefetch: rows that each of them keeps ready.
        keep_rows: encoded rows that stay in memory, for small sources that are gone through many times.
    """

    def __init__(
        self,
        source: Source,
        processor: Encoder,
        *,
        seed: int,
        num_workers: int = 0,
        prefetch: int = 16,
        keep_rows: int = 0,
    ) -> None:
        self.rows = _Rows(source, processor, keep_rows=keep_rows)
        self.seed = seed
        self.num_workers = num_workers
        self.prefetch = prefetch

    def rows_from(self, cursor: int) -> Iterator[Row]:
        """Iterate without end over the rows of this rank, beginning with its ``cursor``-th."""
        positions = _Positions(self.rows.source.size, self.seed, cursor)
        if not self.num_workers:
            return (self.rows[position] for position in positions)
        loader = DataLoader(
            self.rows,
            batch_size=None,
            sampler=positions,
            num_workers=self.num_workers,
            generator=torch.Generator(),  # one of its own: the run's random state is left alone
            prefetch_factor=self.prefetch,
            multiprocessing_context="spawn",
            persistent_workers=True,
            worker_init_fn=_outlive_the_signal,
        )
        return iter(loader)


def _outlive_the_signal(worker: int) -> None:
    """Leave it to the main process to end: it may still want rows after a cluster has told everybody to stop."""
    for name in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class _Rows(Dataset[Row]):
    """A source as torch's loaders want it; faults of a row are values, so that a worker outlives them."""

    def __init__(self, source: Source, processor: Encoder, *, keep_rows: int) -> None:
        self.source = source
        self.processor = processor
        self.keep_rows = keep_rows
        self._kept: dict[int, Row] = {}

    def __getitem__(self, position: int) -> Row:
        if position in self._kept:
            return self._kept[position]
        row = self._encoded(position)
        if len(self._kept) < self.keep_rows:
            self._kept[position] = row
        return row

    def _encoded(self, position: int) -> Row:
        name = str(position)
        try:
            sample = self.source.sample(position)
            name = sample.id or name
            return Row(name=name, encoded=self.processor.encode(sample))
        except DataError as error:
            return Row(name=name, fault=str(error))


class _Positions(Sampler[int]):
    """Positions in the source, in the order in which this rank takes them."""

    def __init__(self, size: int | None, seed: int, cursor: int) -> None:
        self.size = size
        self.seed = seed
        self.cursor = cursor

    def __iter__(self) -> Iterator[int]:
        place = rank() + self.cursor * world_size()
        while True:
            yield position_at(place, size=self.size, seed=self.seed)
            place += world_size()


def position_at(place: int, *, size: int | None, seed: int) -> int:
    """Return the position in the source of the ``place``-th row of a run, over all ranks and epochs.

    Args:
        place: from 0.
        size: of the source; None for an endless one.
        seed: of the shuffling; every epoch has an order of its own.
    """
    if size is None:  # in random order by itself; each seed has a stretch of its own
        return seed * STRETCH + place
    return _permutation(seed, place // size, size)[place % size]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> Sequence[int]:
    order = list(range(size))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order
