"""Paths of Table Readout: straight lines with few corners, waves, spirals, and what is made of both.

Source: S2H, arXiv:2501.02669, the data of Table Readout. Letters: R rows, C columns. Axis 0 runs along the rows'
indices, axis 1 along the columns'. A path is a walk, cut at its ends, in one of its two directions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from vlmzoo.data.synthetic._draws import Draws

__all__ = ["MAX_CORNER_PIECES", "MIN_DISPLACEMENT", "TRIMS", "WALKS", "Cell", "Size", "Walk", "pick", "trimmed"]

T = TypeVar("T")
Cell: TypeAlias = tuple[int, int]
Size: TypeAlias = tuple[int, int]
Walk: TypeAlias = Callable[[Draws, Size, int, int], list[Cell]]
"""``(draws, (R, C), pieces, gap)`` to cells, of which each is the neighbour of the one before, and none comes twice."""

MIN_DISPLACEMENT = 4  # of a random path, in rows and in columns, or along its one piece
MAX_CORNER_PIECES = 4  # of a random path; with more it could cross itself


def pick(draws: Draws, items: Sequence[T]) -> T:
    """Return one of ``items``, all equally likely."""
    return items[draws.integer(0, len(items) - 1)]


def trimmed(draws: Draws, walk: Sequence[Cell], most: int) -> tuple[Cell, ...]:
    """Drop up to ``most`` cells at each end, all counts equally likely; turn the rest around with probability 1/2."""
    front, back = draws.integer(0, most), draws.integer(0, most)
    kept = tuple(walk[front : len(walk) - back])
    return kept[::-1] if draws.coin() else kept


def random_walk(draws: Draws, size: Size, pieces: int, gap: int) -> list[Cell]:
    """Go from a random cell to another in at most ``pieces`` straight pieces, horizontal and vertical in turn.

    The ends are at least ``MIN_DISPLACEMENT`` apart in both directions; with one piece, along it. The last two pieces
    lead to the end. An earlier one leads towards it, to a random place two or more off, which may lie behind it.

    The authors draw anew until the ends are far enough apart; here only such ends are drawn, with the same odds.
    """
    num_pieces = draws.integer(1, pieces)
    if num_pieces == 1:
        return _straight(draws, size)
    at, end = zip(*[_distant_pair(draws, length) for length in size], strict=True)
    axis = int(draws.coin())
    cells = [(at[0], at[1])]
    for num_left in range(num_pieces, 0, -1):
        stop = end[axis] if num_left <= 2 else _beyond(draws, cells[-1][axis], end[axis], size[axis])
        _run(cells, axis, stop)
        axis = 1 - axis
    return cells


def sinusoid_walk(draws: Draws, size: Size, pieces: int, gap: int) -> list[Cell]:
    """Sweep to and fro between two edges, two cells further each time, from ``gap`` cells inside a corner.

    A sweep ends at the edge or one cell before it. Each of the two cells of a turn counts as a piece.
    """
    at, steps, axis = _corner(draws, size, gap)
    cells, step, drift, num_turned = [at], steps[axis], 1 - axis, 0
    while True:
        margin = draws.integer(0, 1)
        stop = size[axis] - 1 - margin if step > 0 else margin
        if (stop - cells[-1][axis]) * step > 0:
            _run(cells, axis, stop)
        step = -step
        for _ in range(2):
            turned = cells[-1][drift] + steps[drift]
            if not 0 <= turned < size[drift]:
                return cells
            _run(cells, drift, turned)
            num_turned += 1
            if num_turned == pieces:
                return cells


def spiral_walk(draws: Draws, size: Size, pieces: int, gap: int) -> list[Cell]:
    """Wind inwards from ``gap`` cells inside a corner, with an empty lane between windings; each turn is a piece."""
    at, steps, axis = _corner(draws, size, gap)
    cells, bounds = [at], [[gap, length - 1 - gap] for length in size]
    for _ in range(pieces):
        _run(cells, axis, bounds[axis][steps[axis] > 0])
        other = 1 - axis
        bounds[other][steps[other] < 0] += 2 * steps[other]
        if bounds[other][0] > bounds[other][1]:
            break
        _run(cells, other, cells[-1][other] + steps[other])
        steps[axis] = -steps[axis]
        axis = other
    return cells


def compositional_walk(draws: Draws, size: Size, pieces: int, gap: int) -> list[Cell]:
    """Run to the bound, turn by two cells, then by a coin run on as a spiral does, or back as a wave does.

    A turn never enters row 0 or column 0, as in the authors' data.
    """
    at, steps, axis = _corner(draws, size, 0)
    cells, bounds = [at], [[0, length - 1] for length in size]
    for _ in range(pieces):
        low, high = bounds[axis]
        if low <= cells[-1][axis] + steps[axis] <= high:
            _run(cells, axis, high if steps[axis] > 0 else low)
        other = 1 - axis
        for _ in range(2):
            turned = cells[-1][other] + steps[other]
            bounds[other][steps[other] < 0] += steps[other]
            if not 0 < turned < size[other] or bounds[other][0] > bounds[other][1]:
                return cells
            _run(cells, other, turned)
        steps[axis] = -steps[axis]
        if draws.coin():
            axis = other
    return cells


WALKS: Mapping[str, Walk] = {
    "random": random_walk,
    "sinusoid": sinusoid_walk,
    "spiral": spiral_walk,
    "compositional": compositional_walk,
}
TRIMS: Mapping[str, int] = {"sinusoid": 2, "spiral": 2, "compositional": 1}
"""How many cells may be dropped at each end; random paths are neither cut nor turned around."""


def _corner(draws: Draws, size: Size, gap: int) -> tuple[Cell, list[int], int]:
    """Draw where a walk starts: a cell, the step inwards along each axis, and the axis of the first run."""
    corner, is_flipped = draws.integer(0, 3), draws.coin()  # clockwise from the upper left
    steps = [-1 if is_far else 1 for is_far in (corner >= 2, corner in (1, 2))]
    row, col = [gap if step > 0 else length - 1 - gap for step, length in zip(steps, size, strict=True)]
    return (row, col), steps, (corner + is_flipped + 1) % 2


def _run(cells: list[Cell], axis: int, stop: int) -> None:
    """Walk along ``axis`` from the last cell to ``stop``, which is included."""
    row, col = cells[-1]
    start = col if axis else row
    step = 1 if stop > start else -1
    places = range(start + step, stop + step, step) if stop != start else ()
    cells.extend([(row, place) for place in places] if axis else [(place, col) for place in places])


def _straight(draws: Draws, size: Size) -> list[Cell]:
    """Draw a path of one piece: ends uniform among those that are far enough apart, along a row or a column.

    The direction's odds are those of drawing it, and two different places along it, until they are far enough apart.
    """
    odds = [(length - MIN_DISPLACEMENT) * (length - MIN_DISPLACEMENT + 1) for length in size]  # ordered pairs
    odds = [odds[0] * size[1] * (size[1] - 1), odds[1] * size[0] * (size[0] - 1)]
    axis = int(draws.integer(0, sum(odds) - 1) >= odds[0])
    apart = [
        (start, stop)
        for start in range(size[axis])
        for stop in range(size[axis])
        if abs(start - stop) >= MIN_DISPLACEMENT
    ]
    start, stop = pick(draws, apart)
    place = draws.integer(0, size[1 - axis] - 1)
    cells = [(place, start) if axis else (start, place)]
    _run(cells, axis, stop)
    return cells


def _distant_pair(draws: Draws, length: int) -> tuple[int, int]:
    """Draw start and end along one axis, at least ``MIN_DISPLACEMENT`` apart.

    Starts that are so far from both edges count twice; an end before its start is never 0: as in the authors' data.
    """
    near, far = range(length - MIN_DISPLACEMENT), range(MIN_DISPLACEMENT, length)
    start = pick(draws, [place for place in (*near, *far) if _ends(place, length)])
    return start, pick(draws, _ends(start, length))


def _ends(start: int, length: int) -> list[int]:
    return [*range(start + MIN_DISPLACEMENT, length), *range(1, start - MIN_DISPLACEMENT + 1)]


def _beyond(draws: Draws, at: int, end: int, length: int) -> int:
    """Draw a place on the side of ``end``, on either side of it, but neither it nor beside it."""
    side = range(at + 1, length) if end > at else range(at)
    return pick(draws, [place for place in side if abs(place - end) > 1])
