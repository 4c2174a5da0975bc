"""How grids are drawn: at random, and again until the search has the length that the level asks for.

Source: S2H, arXiv:2501.02669, section 2 (Grid Navigation), and the released generator. What it draws first and what
it draws again is kept: every size and every number of objects is equally frequent among the grids that remain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_search import (
    DESTINATION,
    FIRST_OBJECT,
    START,
    STRIDE,
    FlatGrid,
    explore,
    has_path,
)
from vlmzoo.errors import ConfigError

__all__ = ["LEVELS", "GridRules", "draw_grid"]

_OBSTACLE_SHARE = 0.35
_MAX_ATTEMPTS = 10_000


@dataclass(frozen=True, kw_only=True)
class GridRules:
    """What grids are drawn; each pair is the least and the largest, all values between equally likely.

    Args:
        num_rows: R.
        num_cols: C.
        num_objects: to be collected.
        num_kinds: of obstacles.
        num_states: of the search, retraces included; grids with fewer or more are drawn again.
    """

    num_rows: tuple[int, int] = (8, 12)
    num_cols: tuple[int, int] = (8, 12)
    num_objects: tuple[int, int]
    num_kinds: tuple[int, int]
    num_states: tuple[int, int]

    def corners(self) -> "tuple[GridRules, GridRules]":
        """Return the rules of the smallest grids with the fewest objects, and of the largest with the most."""
        small, large = (
            replace(
                self,
                num_rows=(self.num_rows[end],) * 2,
                num_cols=(self.num_cols[end],) * 2,
                num_objects=(self.num_objects[end],) * 2,
            )
            for end in (0, 1)
        )
        return small, large


LEVELS: Mapping[str, GridRules] = {
    "simple": GridRules(num_objects=(1, 2), num_kinds=(1, 1), num_states=(10, 25)),
    "hard": GridRules(num_objects=(2, 5), num_kinds=(3, 5), num_states=(26, 60)),
}


def draw_grid(
    draws: Draws, rules: GridRules, *, object_names: Sequence[str], obstacle_names: Sequence[str]
) -> GridInstance:
    """Draw a grid.

    Args:
        draws: where chance comes from.
        rules: sizes and limits.
        object_names: pool of names.
        obstacle_names: pool of names.

    Raises:
        ConfigError: if no grid of the size drawn has a search of the length asked for.
    """
    num_rows, num_cols = draws.integer(*rules.num_rows), draws.integer(*rules.num_cols)
    num_objects, num_kinds = draws.integer(*rules.num_objects), draws.integer(*rules.num_kinds)
    grid = _draw_solvable(draws, num_rows, num_cols, num_objects, rules.num_states)
    codes = list(grid.codes)
    if num_kinds > 1:
        codes = [-draws.integer(1, num_kinds) if code == -1 else code for code in codes]
    starts = [STRIDE * row + 1 for row in range(1, num_rows + 1)]
    return GridInstance(
        cells=tuple([tuple(codes[start : start + num_cols]) for start in starts]),
        objects=draws.distinct(object_names, num_objects),
        obstacles=draws.distinct(obstacle_names, num_kinds),
    )


def _draw_solvable(
    draws: Draws, num_rows: int, num_cols: int, num_objects: int, num_states: tuple[int, int]
) -> FlatGrid:
    """Draw obstacles and objects until the search reaches the destination in as many states as asked for."""
    for _ in range(_MAX_ATTEMPTS):
        grid = _draw_flat(draws, num_rows, num_cols, num_objects, max_moves=num_states[1])
        trace = None if grid is None else explore(grid, max_states=num_states[1])
        if grid is not None and trace is not None and len(trace) >= num_states[0] and has_path(trace):
            return grid
    raise ConfigError(
        f"`num_states` must be lengths that a search can have, but is {list(num_states)} instead: none of "
        f"{_MAX_ATTEMPTS} grids of {num_rows} x {num_cols} cells with {num_objects} objects has one; widen it, or "
        "change `num_rows`, `num_cols` or `num_objects`."
    )


def _draw_flat(draws: Draws, num_rows: int, num_cols: int, num_objects: int, *, max_moves: int) -> FlatGrid | None:
    """Draw one grid with obstacles of one kind; None where even a straight way would take more than ``max_moves``."""
    (start_row, end_row), (start_col, end_col) = _draw_ends(draws, num_rows), _draw_ends(draws, num_cols)
    start, end = STRIDE * start_row + start_col, STRIDE * end_row + end_col
    objects = _draw_objects(draws, (num_rows, num_cols), (start, end), num_objects)
    goals = [*_in_order_of_collection(start, objects), end]
    if sum([_distance(*leg) for leg in zip([start, *goals], goals, strict=False)]) > max_moves:
        return None
    inside, outside = _split_by_rectangle(num_rows, num_cols, start, end)
    codes = list(_free_cells(num_rows, num_cols))
    for place in draws.distinct(inside, int(len(inside) * _OBSTACLE_SHARE)):
        codes[place] = -1
    fraction = draws.fraction
    for place in outside:
        if fraction() < _OBSTACLE_SHARE:
            codes[place] = -1
    codes[start], codes[end] = START, DESTINATION
    for number, place in enumerate(goals[:-1]):
        codes[place] = FIRST_OBJECT + number
    return FlatGrid(codes, start, goals)


def _draw_ends(draws: Draws, size: int) -> tuple[int, int]:
    """Draw different coordinates of start and destination, from 1 to ``size``.

    As in the released generator, the destination never has the first one.
    """
    start = draws.integer(1, size)
    ends = [*range(start + 1, size + 1), *range(start - 1, 1, -1)]
    return start, ends[draws.integer(0, len(ends) - 1)]


def _draw_objects(draws: Draws, shape: tuple[int, int], taken: tuple[int, int], num_objects: int) -> list[int]:
    """Draw different cells that are neither start nor destination.

    The released generator lets objects share a cell; no such grid has a path that it accepts.
    """
    places: list[int] = []
    while len(places) < num_objects:
        place = STRIDE * draws.integer(1, shape[0]) + draws.integer(1, shape[1])
        if place not in taken and place not in places:
            places.append(place)
    return places


def _in_order_of_collection(start: int, objects: Sequence[int]) -> list[int]:
    """Order places so that each is the nearest to the one before, the first drawn among equals."""
    rest, ordered = list(objects), [start]
    while rest:
        ordered.append(min(rest, key=partial(_distance, ordered[-1])))
        rest.remove(ordered[-1])
    return ordered[1:]


def _distance(here: int, there: int) -> int:
    """Return the number of moves between two places of an empty grid."""
    return abs(here // STRIDE - there // STRIDE) + abs(here % STRIDE - there % STRIDE)


def _split_by_rectangle(num_rows: int, num_cols: int, start: int, end: int) -> tuple[list[int], list[int]]:
    """Return the places in the rectangle that start and destination span, without these two, and all other places."""
    top, bottom = sorted([start // STRIDE, end // STRIDE])
    left, right = sorted([start % STRIDE, end % STRIDE])
    inside: list[int] = []
    outside: list[int] = []
    for row in range(1, num_rows + 1):
        first = STRIDE * row
        if top <= row <= bottom:
            outside.extend(range(first + 1, first + left))
            inside.extend(range(first + left, first + right + 1))
            outside.extend(range(first + right + 1, first + num_cols + 1))
        else:
            outside.extend(range(first + 1, first + num_cols + 1))
    inside.remove(start)
    inside.remove(end)
    return inside, outside


@cache
def _free_cells(num_rows: int, num_cols: int) -> tuple[int, ...]:
    """Return the codes of a grid without anything in it."""
    return tuple(FlatGrid.pad([[0] * num_cols] * num_rows))
