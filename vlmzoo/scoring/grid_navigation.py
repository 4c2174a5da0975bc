"""Scores of Grid Navigation: a way counts if it can be walked, whether or not it is the one that was expected.

Source: S2H, arXiv:2501.02669, evaluation. The reference is what ``GridNavigation.answer`` writes: the codes of the
cells, ``:0:1:-1`` for a row (0 free, 1 start, 2 destination, 3 and more objects, negative obstacles), and then a line
with the expected moves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring import SCORES

__all__ = [
    "GridExactMatch",
    "GridMap",
    "GridObjectsFraction",
    "GridObstaclesHit",
    "GridPartialScore",
    "GridSourceDestScore",
    "Walk",
    "stated_moves",
    "walk",
]

_SOURCE = "S2H, arXiv:2501.02669, evaluation of Grid Navigation"
_MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_ANSWER, _NO_PATH = "Answer: ", "No path exists"
_ENDS = re.compile(r"\( ?([a-z]), ?([a-z])\) {0,4}Destination: ?\( ?([a-z]), ?([a-z])\)")

Compat = Literal["s2h"] | None


@dataclass(frozen=True, kw_only=True)
class GridMap:
    """What a walk needs to know.

    Args:
        cells: rows of codes.
        start: row and column, counted from 0.
        destination: row and column, counted from 0.
        objects: rows and columns of the objects.
        moves: the expected ones; none where there is no path.
    """

    cells: tuple[tuple[int, ...], ...]
    start: tuple[int, int]
    destination: tuple[int, int]
    objects: frozenset[tuple[int, int]]
    moves: tuple[str, ...]

    @classmethod
    def parse(cls, reference: str) -> "GridMap":
        """Read what ``GridNavigation.answer`` wrote.

        Raises:
            DataError: if rows differ in length, a code is no integer, a move is none, or start or destination
                is missing.
        """
        return _parse(reference)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What happens to a traveller who follows the moves, up to the first arrival, or to the edge of the grid.

    Args:
        has_arrived: whether the destination was reached.
        obstacles_hit: how many cells with an obstacle were entered, with repetition; they do not stop the traveller.
        objects_met: how many different objects were met.
    """

    has_arrived: bool
    obstacles_hit: int
    objects_met: int


@dataclass(frozen=True, kw_only=True)
class _WalkScore:
    """Follows the stated moves.

    Args:
        compat: ``s2h`` lets the traveller walk along the outside of the upper and of the left edge, where the authors'
            evaluation looks up the obstacles of the opposite edge.

    Raises:
        ConfigError: if there is no such mode.
    """

    compat: Compat = None

    def __post_init__(self) -> None:
        if self.compat not in ("s2h", None):
            raise ConfigError(f"`compat` must be `s2h` or left out, but is {self.compat!r} instead.")


@SCORES.register("grid_exact_match", source=_SOURCE, tiny={})
@dataclass(frozen=True, kw_only=True)
class GridExactMatch(_WalkScore):
    """1 where the moves are the expected ones, or lead over all objects to the destination and hit nothing, else 0.

    Moves after the first arrival are not looked at.
    """

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, as ``GridNavigation.answer`` writes it."""
        grid, moves = GridMap.parse(str(reference)), stated_moves(completion)
        if not moves:
            return float(moves == grid.moves)
        done = walk(grid, moves, compat=self.compat)
        return float(done.has_arrived and not done.obstacles_hit and done.objects_met == len(grid.objects))


@SCORES.register("grid_partial_score", source=_SOURCE, tiny={})
@dataclass(frozen=True, kw_only=True)
class GridPartialScore(_WalkScore):
    """1 where the moves lead to the destination, over obstacles or not, with all objects or not, else 0."""

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, as ``GridNavigation.answer`` writes it."""
        grid, moves = GridMap.parse(str(reference)), stated_moves(completion)
        return float(walk(grid, moves, compat=self.compat).has_arrived if moves else moves == grid.moves)


@SCORES.register("grid_objects_fraction", source=_SOURCE, tiny={})
@dataclass(frozen=True, kw_only=True)
class GridObjectsFraction(_WalkScore):
    """The share of the objects that the moves lead over; 0 where no moves are stated."""

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, as ``GridNavigation.answer`` writes it."""
        grid, moves = GridMap.parse(str(reference)), stated_moves(completion)
        if not moves or not grid.objects:
            return 0.0
        return walk(grid, moves, compat=self.compat).objects_met / len(grid.objects)


@SCORES.register("grid_obstacles_hit", source=_SOURCE, tiny={})
@dataclass(frozen=True, kw_only=True)
class GridObstaclesHit(_WalkScore):
    """How many obstacles the moves lead over: less is better, and it may exceed 1.

    0 where no moves are stated. The authors average over completions with moves other than the expected ones only.
    """

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, as ``GridNavigation.answer`` writes it."""
        grid, moves = GridMap.parse(str(reference)), stated_moves(completion)
        return float(walk(grid, moves or (), compat=self.compat).obstacles_hit)


@SCORES.register("grid_source_dest_score", source=_SOURCE, tiny={})
@dataclass(frozen=True, kw_only=True)
class GridSourceDestScore:
    """1 where the last ``Source:( a, b) Destination:( c, d)`` of the chain of thought names the right cells, else 0."""

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, as ``GridNavigation.answer`` writes it."""
        grid = GridMap.parse(str(reference))
        _, _, after = completion.rpartition("Source:")
        stated = _ENDS.match(after)
        expected = [chr(ord("a") + number) for number in (*grid.start, *grid.destination)]
        return float(stated is not None and list(stated.groups()) == expected)


def stated_moves(completion: str) -> tuple[str, ...] | None:
    """Return the moves after the last ``Answer: ``.

    Returns:
        None where there is no answer, or it holds anything but moves with single spaces between them; an empty tuple
        for ``No path exists``.
    """
    _, found, answer = completion.rpartition(_ANSWER)
    answer = answer.strip()
    if not found or answer == _NO_PATH:
        return () if found else None
    moves = tuple([word.strip() for word in answer.split(" ")])
    return moves if all(move in _MOVES for move in moves) else None


def walk(grid: GridMap, moves: Sequence[str], *, compat: Compat = None) -> Walk:
    """Follow moves from the start.

    Args:
        grid: where.
        moves: names of directions.
        compat: as in the scores.
    """
    least = 0 if compat is None else -1
    (row, col), num_hit = grid.start, 0
    met = {grid.start} & grid.objects
    for move in moves:
        row, col = row + _MOVES[move][0], col + _MOVES[move][1]
        if not (least <= row < len(grid.cells) and least <= col < len(grid.cells[0])):
            break
        if (row, col) == grid.destination:
            return Walk(has_arrived=True, obstacles_hit=num_hit, objects_met=len(met))
        met |= {(row, col)} & grid.objects
        num_hit += grid.cells[row][col] < 0
    return Walk(has_arrived=False, obstacles_hit=num_hit, objects_met=len(met))


@lru_cache(maxsize=256)
def _parse(reference: str) -> GridMap:
    """Read a reference once for all scores and completions."""
    lines = reference.strip().split("\n")
    rows = [line for line in lines if line.startswith(":")]
    moves = tuple(" ".join([line for line in lines if not line.startswith(":")]).split())
    try:
        cells = tuple([tuple([int(code) for code in row[1:].split(":")]) for row in rows])
    except ValueError as error:
        raise DataError(f"A reference must hold codes such as `:0:1:-1`, but {error}.") from error
    places = {code: (r, c) for r, row in enumerate(cells) for c, code in enumerate(row) if code in (1, 2)}
    if len({len(row) for row in cells}) != 1 or len(places) != 2 or not set(moves) <= set(_MOVES):
        raise DataError(
            "A reference must be rows of codes of one length, with a start (1) and a destination (2), and moves, but "
            f"is {reference[:200]!r} instead."
        )
    objects = frozenset([(r, c) for r, row in enumerate(cells) for c, code in enumerate(row) if code > 2])
    return GridMap(cells=cells, start=places[1], destination=places[2], objects=objects, moves=moves)
