"""Mixtures: several sources by weight, each walked through in shuffled epochs of its own."""

import math
import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, ClassVar

from vlmzoo.data.sources import SOURCES, STRETCH
from vlmzoo.data.sources._shuffle import shuffled
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import ConfigError
from vlmzoo.registry import NestedSpecs, nearest_hint
from vlmzoo.types import Sample

__all__ = ["MixtureSource"]

_KEYS = ("weight", "source", "name")
_SHORTEST_BLOCK = 32
_LONGEST_BLOCK = 200_000


@SOURCES.register(
    "mixture",
    source="vlmzoo's own: quotas by cumulative rounding, in blocks that are shuffled",
    tiny={
        "sources": [
            {"weight": 2.0, "source": {"type": "llava_json", "path": str(TINY / "llava.json")}},
            {"weight": 1.0, "source": {"type": "trl", "path": str(TINY / "trl.jsonl")}},
        ]
    },
)
class MixtureSource:
    """Conversations of several sources, each as often as its weight says.

    Positions are cut into blocks. After k blocks of B positions, a source of share p was drawn k·B·p times, rounded;
    so no share drifts, however long the run, and the order within a block is shuffled. The n-th draw from a source of S
    rows is the n-th of its shuffled epochs: no row comes twice before all have come once. All of it is arithmetic on
    the position. Each stretch (each seed of a run) begins anew, with orders of its own.

    Args:
        sources: ``{weight, source: {type: …}}`` each, and a ``name`` to put before the ids of its samples; default:
            its number.
        seed: of the orders.
        size: how many positions there are; None for no end.

    Raises:
        ConfigError: if an entry is incomplete, a weight is negative or vanishing, or two names are equal.
    """

    nested_specs: ClassVar[NestedSpecs] = {"sources": lambda entries: _check_entries(entries)}

    def __init__(self, *, sources: Sequence[Mapping[str, Any]], seed: int = 0, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ConfigError(f"`size` must be positive, but is {size} instead; leave it out for no end.")
        weights = [_checked_weight(entry, number) for number, entry in enumerate(sources)]
        self.names = [str(entry.get("name", number)) for number, entry in enumerate(sources)]
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"`name` of each source must be its own, but they are {', '.join(self.names)}.")
        self.quota = _Quota(_whole(weights))
        self.sources = [SOURCES.build(entry["source"]) for entry in sources]
        self.seed = seed
        self._size = size

    @property
    def size(self) -> int | None:
        """The number of positions; None if there is no end."""
        return self._size

    def draw(self, position: int) -> tuple[int, int]:
        """Return which source a position draws from, and how often the stretch has drawn from it before."""
        stretch, place = divmod(position, STRETCH)
        return self.quota.draw(place, key=f"{self.seed}/{stretch}")

    def sample(self, position: int) -> Sample:
        """Return the conversation at a position, with the source's name before its id.

        Raises:
            DataError: if the row is corrupt.
        """
        number, count = self.draw(position)
        stretch = position // STRETCH
        source = self.sources[number]
        if source.size is None:
            inner = stretch * STRETCH + count
        else:
            epoch, place = divmod(count, source.size)
            inner = shuffled(place, size=source.size, key=f"{self.seed}/{stretch}/{number}/{epoch}")
        sample = source.sample(inner)
        return replace(sample, id=f"{self.names[number]}/{sample.id}")


class _Quota:
    """Who is drawn when, by whole weights.

    A block is so long that every source with a weight is drawn in each: then rounded quotas never shrink.

    Args:
        weights: of the sources.

    Raises:
        ConfigError: if the smallest one would need a block that is too long.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self.bounds = (0, *accumulate(weights))
        smallest = min(weight for weight in weights if weight)
        self.block = max(_SHORTEST_BLOCK, math.ceil(2 * self.bounds[-1] / smallest))
        if self.block > _LONGEST_BLOCK:
            raise ConfigError(
                f"The smallest `weight` must be at least 1 in {_LONGEST_BLOCK // 2:,} of all, but is 1 in "
                f"{self.bounds[-1] // smallest:,}; raise it, or leave the source out."
            )

    def draw(self, place: int, *, key: str) -> tuple[int, int]:
        """Return the source of a place, and how often it was drawn before."""
        number, offset = divmod(place, self.block)
        sources, counts = _shuffled_block(self.bounds, self.block, number, key)
        return sources[offset], counts[offset]


@lru_cache(maxsize=8)
def _shuffled_block(bounds: tuple[int, ...], block: int, number: int, key: str) -> tuple[array, array]:
    """Return the source of each place in a block, and how often it was drawn before."""
    before, after = (_quotas(bounds, taken * block) for taken in (number, number + 1))
    order = [source for source, (low, high) in enumerate(zip(before, after, strict=True)) for _ in range(high - low)]
    random.Random(f"{key}/{number}").shuffle(order)
    counts = array("Q")
    for source in order:
        counts.append(before[source])
        before[source] += 1
    return array("L", order), counts


def _quotas(bounds: Sequence[int], num_places: int) -> list[int]:
    """Return how often each source is drawn in the first places; the sum is exact, each is within 1 of its share."""
    rounded = [num_places * bound // bounds[-1] for bound in bounds]
    return [high - low for low, high in pairwise(rounded)]


def _whole(weights: Sequence[Fraction]) -> list[int]:
    """Return whole numbers in the same ratios."""
    if not any(weights):
        raise ConfigError("`sources` of a mixture must have at least one of positive `weight`, but have none.")
    factor = math.lcm(*(weight.denominator for weight in weights))
    return [int(weight * factor) for weight in weights]


def _check_entries(entries: Sequence[Mapping[str, Any]]) -> None:
    _whole([_checked_weight(entry, number) for number, entry in enumerate(entries)])
    SOURCES.check_each(entry["source"] for entry in entries)


def _checked_weight(entry: Mapping[str, Any], number: int) -> Fraction:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"`sources.{number}` must be `{{weight, source}}`, but is {entry!r} instead.")
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(f"`sources.{number}` takes no `{key}`.{nearest_hint(key, _KEYS)}")
    if "weight" not in entry or "source" not in entry:
        raise ConfigError(f"`sources.{number}` must have `weight` and `source`, but has {', '.join(entry)} instead.")
    weight = entry["weight"]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise ConfigError(f"`sources.{number}.weight` must be zero or more, but is {weight!r} instead.")
    return Fraction(str(weight))
