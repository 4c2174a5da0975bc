"""The way through a grid, as the authors search it: depth first, towards the next object, backwards where stuck.

Source: S2H, arXiv:2501.02669, section 2 (Grid Navigation). The course of the search is the chain of thought, so its
habits are kept, also those that look odd: collecting an object forgets which cells were visited, and a cell from which
an object was collected in vain goes on as if it were still collected.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "DESTINATION",
    "FIRST_OBJECT",
    "MOVES",
    "OUTSIDE",
    "RETRACE",
    "START",
    "STRIDE",
    "FlatGrid",
    "Neighbour",
    "Record",
    "State",
    "Verdict",
    "actions_of",
    "explore",
    "has_path",
    "search",
    "states_kept",
]

Verdict: TypeAlias = Literal["outside", "visited", "blocked", "closed", "later_object", "destination"]
"""Why a neighbour is not entered: it is no cell; the search was there; the search came back from there; it holds an
obstacle, an object whose turn has not come, or the destination before all objects are collected."""
MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
RETRACE = "retrace"
OUTSIDE, START, DESTINATION, FIRST_OBJECT = -(10**6), 1, 2, 3
STRIDE = 64  # from row to row of a flat grid: so wide that the difference of two places tells rows and columns apart
_ACTIONS = {rows * STRIDE + cols: action for action, (rows, cols) in MOVES.items()} | {0: RETRACE}

Record: TypeAlias = tuple[int, int, int, Sequence[tuple[int, "Verdict", int]]]
"""A ``State`` in the numbers of a flat grid: place, step to the next place (0 for a retrace), number of the object that
is collected, and the neighbours refused as (step, verdict, target)."""


class Neighbour(NamedTuple):
    """A neighbour that the search did not enter.

    Args:
        action: the move that leads there.
        verdict: why not.
        target: number of the object that the search was heading for, counted from 1; one more than there are objects
            where it was heading for the destination.
    """

    action: str
    verdict: Verdict
    target: int


class State(NamedTuple):
    """One state of the search: where it was, what it considered, what it did.

    Args:
        row: of the cell, counted from 0.
        col: of the cell, counted from 0.
        action: the move, or ``RETRACE``.
        collected: number of the object that the move collects, counted from 1; 0 if none.
        considered: the neighbours that were refused before, in order.
    """

    row: int
    col: int
    action: str
    collected: int
    considered: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True)
class FlatGrid:
    """A grid as one list, with a rim of ``OUTSIDE``.

    Args:
        codes: ``(R + 2) * STRIDE`` codes, row by row; those of the cells as in ``GridInstance``.
        start: place of the start, its index in ``codes``.
        goals: places of the objects in order of collection, then of the destination.
    """

    codes: Sequence[int]
    start: int
    goals: Sequence[int]

    @classmethod
    def of(cls, cells: Sequence[Sequence[int]]) -> "FlatGrid":
        """Flatten R rows of C codes."""
        codes = cls.pad(cells)
        objects = [codes.index(code) for code in range(FIRST_OBJECT, max(codes) + 1)]
        return cls(codes, codes.index(START), [*objects, codes.index(DESTINATION)])

    @staticmethod
    def pad(cells: Sequence[Sequence[int]]) -> list[int]:
        """Return the codes with their rim, whatever they are."""
        rim, rest = [OUTSIDE] * STRIDE, [OUTSIDE] * (STRIDE - len(cells[0]) - 1)
        return [*rim, *[code for row in cells for code in (OUTSIDE, *row, *rest)], *rim]


def search(grid: FlatGrid) -> tuple[State, ...]:
    """Search from the start, over all objects in their order, to the destination.

    Returns:
        All states; the last one is a move to the destination, or a retrace where there is no path.
    """
    return tuple(
        [
            State(
                row=place // STRIDE - 1,
                col=place % STRIDE - 1,
                action=_ACTIONS[step],
                collected=collected,
                considered=tuple([Neighbour(_ACTIONS[other], verdict, target) for other, verdict, target in refused]),
            )
            for place, step, collected, refused in explore(grid) or ()
        ]
    )


def explore(grid: FlatGrid, *, max_states: int | None = None) -> list[Record] | None:
    """Search as ``search`` does; None where there are more than ``max_states`` states."""
    codes, goals = grid.codes, grid.goals
    limit = float("inf") if max_states is None else max_states
    trace: list[Record] = []
    path: list[tuple[int, int, bytearray, Iterator[int], list[tuple[int, Verdict, int]], int]] = []
    place, collected, visited = grid.start, 0, bytearray(len(codes))
    visited[place] = 1
    untried, refused = iter(_ranked_steps(goals[0] - place)), []
    while len(trace) < limit:
        for step in untried:
            code = codes[place + step]
            verdict = _refusal(code, visited[place + step], collected, len(goals) - 1)
            if verdict is None:
                break
            refused.append((step, verdict, collected + 1))
        else:  # nothing is left to try: one step back
            trace.append((place, 0, 0, refused))
            if not path:
                return trace
            place, collected, visited, untried, refused, step = path.pop()
            refused.append((step, "blocked", collected + 1))
            continue
        is_object = code == collected + FIRST_OBJECT
        if is_object:
            collected += 1
            visited = bytearray(len(codes))
        trace.append((place, step, collected * is_object, tuple(refused)))
        if code == DESTINATION:
            return trace
        path.append((place, collected, visited, untried, refused, step))
        place += step
        visited[place] = 1
        untried, refused = iter(_ranked_steps(goals[collected] - place)), []
    return None


def _refusal(code: int, is_visited: int, collected: int, num_objects: int) -> Verdict | None:
    """Say why a cell is not entered, or None where it is."""
    if code == OUTSIDE:
        return "outside"
    if is_visited:
        return "visited"
    if code < 0:
        return "closed"
    if code > collected + FIRST_OBJECT:
        return "later_object"
    return "destination" if code == DESTINATION and collected < num_objects else None


def has_path(trace: Sequence[Record]) -> bool:
    """Say whether the search ended at the destination."""
    return trace[-1][1] != 0


def states_kept(trace: Sequence[State]) -> tuple[State, ...]:
    """Return the states whose moves were not taken back, without what they considered; none where there is no path."""
    kept: list[State] = []
    for state in trace:
        if state.action != RETRACE:
            kept.append(state._replace(considered=()))
        elif kept:
            kept.pop()
    return tuple(kept)


def actions_of(trace: Sequence[State]) -> tuple[str, ...]:
    """Return the moves that were not taken back; none where there is no path."""
    return tuple([state.action for state in states_kept(trace)])


@cache
def _ranked_steps(difference: int) -> tuple[int, ...]:
    """Return the steps to the four neighbours, those first that end nearest to a goal.

    Distance is L1, then L2; among equals the order of ``MOVES`` holds.

    Args:
        difference: place of the goal minus place of the cell.
    """
    num_right = (difference + STRIDE // 2) % STRIDE - STRIDE // 2
    num_down = (difference - num_right) // STRIDE

    def distance(move: tuple[int, int]) -> tuple[int, int]:
        rows, cols = num_down - move[0], num_right - move[1]
        return abs(rows) + abs(cols), rows * rows + cols * cols

    return tuple([rows * STRIDE + cols for rows, cols in sorted(MOVES.values(), key=distance)])
