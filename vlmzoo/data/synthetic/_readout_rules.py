"""Which paths a level of Table Readout is made of.

Source: S2H, arXiv:2501.02669, as the released scripts mix them: a third of the data for each kind of path, and within a
kind equally many for each count of pieces and each gap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias, cast

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._readout_paths import MAX_CORNER_PIECES, TRIMS, WALKS, Cell, Size, pick, trimmed
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["PathMixture", "PathRule", "Split", "draw_path", "level_paths", "parse_paths"]

Split: TypeAlias = Literal["train", "eval"]
PathMixture: TypeAlias = tuple[tuple["PathRule", ...], ...]
"""A group is drawn, then a rule of it, all equally likely."""

_LEAST_SIZE = 5  # of a table, without gaps: the shortest walk has as many cells, of which at most four are dropped
_OPTIONS = ("type", "pieces", "gap")
_GAPLESS = ("random", "compositional")


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """How a path is drawn.

    Args:
        type: ``random``, ``sinusoid``, ``spiral`` or ``compositional``.
        pieces: after how many a walk ends, if it does not leave the table before; of ``random``, how many at most.
        gap: from the edges of the table to the corner that a walk starts at; of ``sinusoid`` and ``spiral`` only.

    Raises:
        ConfigError: if the type is unknown, or a number is out of its range.
    """

    type: str
    pieces: int = MAX_CORNER_PIECES
    gap: int = 0

    def __post_init__(self) -> None:
        if self.type not in tuple(WALKS):
            raise ConfigError(
                f"`paths.type` must be one of {', '.join(WALKS)}, but is {self.type!r} instead."
                f"{nearest_hint(str(self.type), WALKS)}"
            )
        most = MAX_CORNER_PIECES if self.type == "random" else 100
        _check_integer("pieces", self.type, self.pieces, low=1, high=most)
        _check_integer("gap", self.type, self.gap, low=0, high=0 if self.type in _GAPLESS else 100)

    @property
    def least_size(self) -> int:
        """How many rows and columns a table must have for every path to have a cell."""
        return _LEAST_SIZE + 2 * self.gap

    def draw(self, draws: Draws, size: Size) -> tuple[Cell, ...]:
        """Draw a path through a table of ``size`` (R, C): the highlighted cells in order."""
        walk = WALKS[self.type](draws, size, self.pieces, self.gap)
        return trimmed(draws, walk, TRIMS[self.type]) if self.type in TRIMS else tuple(walk)


def draw_path(draws: Draws, mixture: PathMixture, size: Size) -> tuple[Cell, ...]:
    """Draw a rule of the mixture, and a path by it."""
    return pick(draws, pick(draws, mixture)).draw(draws, size)


def parse_paths(paths: Sequence[Mapping[str, Any]]) -> PathMixture:
    """Read a mixture from a config: one group for each ``{type: …, pieces: …, gap: …}``.

    Where ``pieces`` or ``gap`` is a list, the group has a rule for each combination.

    Raises:
        ConfigError: if there is no group, or one of them is no such mapping.
    """
    if isinstance(paths, str | Mapping) or not isinstance(paths, Sequence) or not paths:
        raise ConfigError(f"`paths` must be a list of at least one `{{type: …}}`, but is {paths!r} instead.")
    return tuple([_parsed_group(group) for group in paths])


def level_paths(level: str, split: Split) -> PathMixture:
    """Return what the authors draw: ``hard`` questions for evaluation are compositional only."""
    if split == "train":
        return _TRAIN[level]
    return _EVAL[level]


def _parsed_group(group: Mapping[str, Any]) -> tuple[PathRule, ...]:
    if not isinstance(group, Mapping) or "type" not in group:
        raise ConfigError(f"A path of `paths` must be a mapping with a `type`, but is {group!r} instead.")
    for name in group:
        if name not in _OPTIONS:
            raise ConfigError(f"A path of `paths` takes no `{name}`.{nearest_hint(str(name), _OPTIONS)}")
    choices = {name: _listed(value) for name, value in group.items() if name != "type"}
    if not all(choices.values()):
        raise ConfigError(f"`pieces` and `gap` of a path must name at least one number, but are {choices} instead.")
    rules = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    return tuple([PathRule(type=group["type"], **rule) for rule in rules])


def _listed(value: object) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else [value]


def _check_integer(name: str, path: str, value: object, *, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(
            f"`{name}` of a `{path}` path must be an integer from {low} to {high}, but is {value!r} instead."
        )


def _rules(path: str, pieces: Sequence[int], gaps: Sequence[int] = (0,)) -> tuple[PathRule, ...]:
    return tuple([PathRule(type=path, pieces=num, gap=gap) for num in pieces for gap in gaps])


_RANDOM, _COMPOSITIONAL = _rules("random", [MAX_CORNER_PIECES]), _rules("compositional", [8, 10])
_SHORT_WAVES, _SHORT_SPIRALS = _rules("sinusoid", [3, 4], [0, 1]), _rules("spiral", [3, 4], [0, 1])
_LONG_WAVES, _LONG_SPIRALS = _rules("sinusoid", [8, 10], [0, 1]), _rules("spiral", [6, 8], [0, 1])
_TRAIN: Mapping[str, PathMixture] = {
    "simple": (_RANDOM, _SHORT_WAVES, _SHORT_SPIRALS),
    "hard": (_LONG_WAVES, _LONG_SPIRALS, _COMPOSITIONAL),
}
_EVAL: Mapping[str, PathMixture] = {
    "simple": tuple([(rule,) for rule in (*_RANDOM, *_SHORT_WAVES, *_SHORT_SPIRALS)]),  # as many of each
    "hard": (_COMPOSITIONAL,),
}
