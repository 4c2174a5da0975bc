"""The content of a grid with a start, a destination, objects and obstacles, whatever it is written or drawn like."""

from dataclasses import dataclass
from functools import cached_property

from vlmzoo.data.synthetic._grid_search import FlatGrid, State, actions_of, search
from vlmzoo.errors import DataError

__all__ = ["GridInstance"]

_NUM_LETTERS = 26


@dataclass(frozen=True, kw_only=True)
class GridInstance:
    """A grid, and what is to be collected and avoided in it.

    Letters: R rows, C columns.

    Args:
        cells: R tuples of C codes: 0 free, 1 start, 2 destination, 2 + k the k-th object in order of collection, -k the
            k-th kind of obstacle, k counted from 1.
        objects: names of the objects, in order of collection.
        obstacles: names of the kinds of obstacle.

    Raises:
        DataError: if rows differ in length, there are more rows or columns than letters to name them, or start,
            destination or an object does not stand in exactly one cell, or an obstacle has no name.
    """

    cells: tuple[tuple[int, ...], ...]
    objects: tuple[str, ...]
    obstacles: tuple[str, ...]

    def __post_init__(self) -> None:
        codes = [code for row in self.cells for code in row]
        if len(codes) != self.num_rows * self.num_cols or len({len(row) for row in self.cells}) != 1:
            raise DataError(f"`cells` must be rows of one length, but has {[len(row) for row in self.cells]} instead.")
        if max(self.num_rows, self.num_cols) > _NUM_LETTERS:
            raise DataError(
                f"`cells` must have at most {_NUM_LETTERS} rows and columns, which letters name, but has "
                f"{self.num_rows} and {self.num_cols} instead."
            )
        found, expected = sorted([code for code in codes if code > 0]), list(range(1, len(self.objects) + 3))
        if found != expected:
            raise DataError(
                f"`cells` must hold each of the codes {expected} once (start, destination, {len(self.objects)} "
                f"objects), but holds {found} instead."
            )
        if min(codes) < -len(self.obstacles):
            raise DataError(
                f"`cells` must have no code below {-len(self.obstacles)}, the last of {len(self.obstacles)} kinds of "
                f"obstacle, but has {min(codes)} instead."
            )

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.cells)

    @property
    def num_cols(self) -> int:
        """C."""
        return len(self.cells[0]) if self.cells else 0

    @property
    def start(self) -> tuple[int, int]:
        """Row and column of the start, counted from 0."""
        return self._places[1]

    @property
    def destination(self) -> tuple[int, int]:
        """Row and column of the destination, counted from 0."""
        return self._places[2]

    @property
    def stops(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each object, in order of collection."""
        return tuple([self._places[code] for code in range(3, len(self.objects) + 3)])

    @cached_property
    def trace(self) -> tuple[State, ...]:
        """The course of the search."""
        return search(FlatGrid.of(self.cells))

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """The moves from the start to the destination; none where the search finds no path."""
        return actions_of(self.trace)

    @property
    def codes_text(self) -> str:
        """The codes, each with a colon before it, a line for each row: the authors' own notation."""
        return "".join(["".join([f":{code}" for code in row]) + "\n" for row in self.cells])

    def name_at(self, row: int, col: int) -> str:
        """Return the name of the object or obstacle of a cell that holds one."""
        code = self.cells[row][col]
        return self.objects[code - 3] if code > 0 else self.obstacles[-code - 1]

    @cached_property
    def _places(self) -> dict[int, tuple[int, int]]:
        """Where each positive code stands."""
        return {code: (r, c) for r, row in enumerate(self.cells) for c, code in enumerate(row) if code > 0}
