"""The prompts of a run, in an order that all ranks agree on."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlmzoo.data.balancing import BalancedOrder
from vlmzoo.data.collation import LengthPolicy
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.fetching import position_at
from vlmzoo.data.sources import Source
from vlmzoo.distributed import gather_over_ranks, rank, world_size
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.types import Sample

__all__ = ["AskedPrompt", "PromptStream", "balanced_order"]

logger = logging.getLogger(__name__)

_MAX_SKIPS_IN_A_ROW = 1000
_FEWEST_ROWS_TO_JUDGE = 100  # before so many rows, a share says little


@dataclass(frozen=True, kw_only=True)
class AskedPrompt:
    """A prompt that is ready to be asked.

    Args:
        sample: ending with a user turn, with a reference.
        encoded: as the processor's ``encode_prompt`` gives it.
    """

    sample: Sample
    encoded: Mapping[str, Any]


class PromptStream:
    """Gives places of prompts that can be used; a place is a row's number in the run, over all ranks and epochs.

    Every rank looks at a share of the places and tells the others which of them are of use.

    Args:
        source: addressed by position; its samples have references.
        processor: encodes.
        lengths: what becomes of a prompt that is too long.
        corrupt_limit: share of corrupt rows that are named, counted and passed over; above it the run fails.
        seed: of the shuffling.
        order: of rows in balanced batches, in place of the shuffling.
        keep_rows: encoded prompts that stay in memory, for small sources that are gone through many times.
    """

    def __init__(
        self,
        source: Source,
        processor: SampleEncoding,
        *,
        lengths: LengthPolicy,
        corrupt_limit: float,
        seed: int,
        order: BalancedOrder | None = None,
        keep_rows: int = 0,
    ) -> None:
        self.source, self.processor, self.lengths = source, processor, lengths
        self.corrupt_limit, self.seed, self.order = corrupt_limit, seed, order
        self.cursor = 0
        self.num_corrupt = 0
        self._ready: dict[int, AskedPrompt] = {}
        self.keep_rows = keep_rows
        self._kept: dict[int, AskedPrompt] = {}  # by position in the source

    def take(self, num: int) -> list[int]:
        """Return the next places of use, the same on all ranks; all must call.

        Raises:
            DataError: if too many rows are corrupt, or nothing is short enough.
        """
        taken: list[int] = []
        num_skipped = 0
        while len(taken) < num:
            places = range(self.cursor, self.cursor + num - len(taken))
            share = -(-len(places) // world_size())
            own = places[rank() * share : (rank() + 1) * share]
            verdicts = gather_over_ranks([self._is_of_use(place) for place in own])
            self.cursor = places.stop
            found = [place for place, is_of_use in zip(places, verdicts, strict=True) if is_of_use]
            num_skipped = 0 if found else num_skipped + len(places)
            if num_skipped >= _MAX_SKIPS_IN_A_ROW:
                raise DataError(
                    f"{num_skipped} prompts in a row were corrupt or longer than `prompts.max_tokens` "
                    f"({self.lengths.max_tokens}); raise it, or check the data with `vlmzoo data check`."
                )
            taken += found
        return taken

    def prompt(self, place: int) -> AskedPrompt:
        """Return the prompt at a place that ``take`` gave."""
        if place not in self._ready:
            self._ready[place] = self._read(place)
        return self._ready[place]

    def forget(self) -> None:
        """Let go of prompts that were made ready."""
        self._ready.clear()

    def state_dict(self) -> dict[str, int]:
        """Return where this rank stands."""
        return {"cursor": self.cursor, "num_skipped": self.lengths.num_skipped, "num_corrupt": self.num_corrupt}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go back to where ``state_dict`` was taken."""
        self.cursor = int(state["cursor"])
        self.lengths.num_skipped = int(state["num_skipped"])
        self.num_corrupt = int(state["num_corrupt"])
        self.forget()

    def _read(self, place: int) -> AskedPrompt:
        if self.order is None:
            position = position_at(place, size=self.source.size, seed=self.seed)
        else:
            position = self.order.row(place)
        if position not in self._kept:
            asked = self._encoded(position)
            if len(self._kept) >= self.keep_rows:
                return asked
            self._kept[position] = asked
        return self._kept[position]

    def _encoded(self, position: int) -> AskedPrompt:
        sample = prompt_of(self.source.sample(position))
        if sample.reference is None:
            raise DataError(f"Sample `{sample.id}` must have a `reference` that rewards compare with, but has none.")
        return AskedPrompt(sample=sample, encoded=self.processor.encode_prompt(sample))

    def _is_of_use(self, place: int) -> bool:
        try:
            asked = self._read(place)
        except DataError as error:
            self._count_corrupt(place, error)
            return False
        if not self.lengths.admits(asked.encoded, name=asked.sample.id or str(place)):
            return False
        self._ready[place] = asked
        return True

    def _count_corrupt(self, place: int, error: DataError) -> None:
        self.num_corrupt += 1
        logger.warning("Prompt %d is passed over: %s", place, error)
        if self.num_corrupt > self.corrupt_limit * max(place + 1, _FEWEST_ROWS_TO_JUDGE):
            raise DataError(
                f"{self.num_corrupt} of {place + 1} prompts are corrupt, more than `corrupt_limit` "
                f"({self.corrupt_limit:.1%}) allows; the last: {error} Clean the data with `vlmzoo data check "
                "--write-clean`, or raise the limit."
            ) from error


def balanced_order(source: Source, spec: Mapping[str, Any], *, batch_size: int, seed: int) -> BalancedOrder:
    """Return an order of a source's rows in which every batch holds as many of each class.

    Args:
        source: finite; its ``labels`` are read if it has some, else the references of all rows.
        spec: ``{classes: [[yes], [no]], seed: 1}``, both optional.
        batch_size: prompts of a batch.
        seed: unless the spec names one.

    Raises:
        ConfigError: if the source has no end, an option is unknown, or a class has no rows.
    """
    unknown = set(spec) - {"classes", "seed"}
    if unknown:
        raise ConfigError(f"`prompts.balance` takes classes and seed, but has {sorted(unknown)}, too.")
    if source.size is None:
        raise ConfigError("`prompts.balance` must have a source with an end, but this one has none.")
    labels: Any = getattr(source, "labels", None)
    if labels is None:
        labels = [source.sample(position).reference for position in range(source.size)]
    order = BalancedOrder(
        labels, classes=spec.get("classes", ("yes", "no")), batch_size=batch_size, seed=int(spec.get("seed", seed))
    )
    if order.left_out:
        logger.warning("Rows of no class are never drawn: %s.", dict(order.left_out))
    return order
