"""The prompts of a run, in an order that all ranks agree on."""

import logging
from collections.abc import Iterator, Mapping
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
from vlmzoo.experience._passed_over import MAX_SKIPS_IN_A_ROW, CorruptRows, nothing_of_use
from vlmzoo.types import Sample

__all__ = ["AskedPrompt", "PromptStream", "balanced_order"]

logger = logging.getLogger(__name__)

Verdict = tuple[int | None, list[str]]
"""The row that a place has, None if there is none of use; and what was wrong with rows that could not be read."""


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

    Every rank looks at a share of the places and tells the others which of them are of use. A shuffled row that is of
    none is passed over; in balanced batches another row of its class takes its place, so that they stay balanced.

    Args:
        source: addressed by position; its samples have references.
        processor: encodes.
        lengths: what becomes of a prompt that is too long.
        corrupt_limit: share of corrupt rows, of all ranks' together, that are named, counted and passed over; above it
            the run fails.
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
        self.seed, self.order = seed, order
        self.cursor = 0
        self.corrupt = CorruptRows(corrupt_limit, noun="prompt")  # those of all ranks
        self._ready: dict[int, AskedPrompt] = {}
        self._rows: dict[int, int] = {}  # positions in the source, by place
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
            verdicts = gather_over_ranks([self._look_at(place) for place in own])
            self.cursor = places.stop
            found = self._sorted_out(places, verdicts)
            num_skipped = 0 if found else num_skipped + len(places)
            if num_skipped >= MAX_SKIPS_IN_A_ROW or (self.order is not None and len(found) < len(places)):
                raise nothing_of_use(
                    max(num_skipped, len(places) - len(found)),
                    noun="prompts",
                    option="prompts.max_tokens",
                    max_tokens=self.lengths.max_tokens,
                )
            taken += found
        return taken

    def _sorted_out(self, places: range, verdicts: list[Verdict]) -> list[int]:
        """Return the places of use, and note on every rank alike what could not be read."""
        for place, (position, faults) in zip(places, verdicts, strict=True):
            if position is not None:
                self._rows[place] = position
            for fault in faults:
                self.corrupt.note(str(place), fault, num_seen=place + 1)
        return [place for place, (position, _) in zip(places, verdicts, strict=True) if position is not None]

    def prompt(self, place: int) -> AskedPrompt:
        """Return the prompt at a place that ``take`` gave."""
        if place not in self._ready:
            self._ready[place] = self._at(self._position(place))
        return self._ready[place]

    def forget(self) -> None:
        """Let go of prompts that were made ready."""
        self._ready.clear()
        self._rows.clear()

    def passed_over(self) -> dict[str, float]:
        """Return how many prompts were passed over, as this rank's share: the loop adds ranks up, name by name."""
        return {
            "prompts_too_long": float(self.lengths.num_skipped),
            "prompts_corrupt": self.corrupt.num / world_size(),
        }

    def state_dict(self) -> dict[str, int]:
        """Return where this rank stands."""
        return {"cursor": self.cursor, "num_skipped": self.lengths.num_skipped, **self.corrupt.state_dict()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go back to where ``state_dict`` was taken."""
        self.cursor = int(state["cursor"])
        self.lengths.num_skipped = int(state["num_skipped"])
        self.corrupt.load_state_dict(state)
        self.forget()

    def _candidates(self, place: int) -> Iterator[int]:
        """Iterate over the rows that a place may have, the one that it should have first."""
        if self.order is None:
            yield position_at(place, size=self.source.size, seed=self.seed)
            return
        yield self.order.row(place)
        yield from self.order.stand_ins(place)

    def _position(self, place: int) -> int:
        """Return the row of a place that was found to be of use, here or on another rank, now or before a restart."""
        if place not in self._rows:
            found = list(self._candidates(place)) if self.order is not None else [next(self._candidates(place))]
            self._rows[place] = next((one for one in found[:-1] if self._is_of_use(one)), found[-1])
        return self._rows[place]

    def _is_of_use(self, position: int) -> bool:
        try:
            return self.lengths.fits(self._at(position).encoded)
        except DataError:
            return False

    def _at(self, position: int) -> AskedPrompt:
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

    def _look_at(self, place: int) -> Verdict:
        """Look for a row that the place can have."""
        faults: list[str] = []
        for position in self._candidates(place):
            try:
                asked = self._at(position)
            except DataError as error:
                faults.append(str(error))
                continue
            if self.lengths.admits(asked.encoded, name=asked.sample.id or str(place)):
                self._ready[place] = asked
                return position, faults
        return None, faults


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
