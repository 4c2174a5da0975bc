"""The content of a table with a highlighted path, whatever it is written or drawn like."""

from dataclasses import dataclass
from functools import cached_property

__all__ = ["TableInstance"]


@dataclass(frozen=True, kw_only=True)
class TableInstance:
    """A table of digits, and the cells to add.

    Letters: R rows, C columns.

    Args:
        row_names: R names.
        col_names: C names.
        values: R tuples of C integers from 0 to 9.
        path: the highlighted cells in order, as (row, column) counted from 0.
    """

    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    path: tuple[tuple[int, int], ...]

    @cached_property
    def addends(self) -> tuple[int, ...]:
        """The values along the path."""
        return tuple([self.values[row][col] for row, col in self.path])

    @property
    def total(self) -> int:
        """The sum of the values along the path."""
        return sum(self.addends)

    @cached_property
    def highlighted(self) -> frozenset[tuple[int, int]]:
        """The cells of the path, for look-ups."""
        return frozenset(self.path)
