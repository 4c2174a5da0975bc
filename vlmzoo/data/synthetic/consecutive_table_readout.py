"""Consecutive Table Readout: add the highlighted values of a table, along a path that runs line by line."""

from collections.abc import Mapping, Sequence
from typing import get_args

from vlmzoo.data.synthetic import TASKS, Level
from vlmzoo.data.synthetic._checks import check_choice
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._readout_task import TableImage, TableTask
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_text import TableStyle
from vlmzoo.data.synthetic._task import COMPATS, Compat
from vlmzoo.errors import ConfigError

__all__ = ["ConsecutiveTableReadout", "TableInstance"]

_NAME = "consecutive_table_readout"
_PATH_CELLS: Mapping[str, tuple[int, int]] = {"simple": (5, 10), "medium": (15, 20), "hard": (25, 30)}
_S2H_INCREMENT = (5, 9)  # cells after the first, in the released generator, at every level


@TASKS.register(
    _NAME,
    source="S2H, arXiv:2501.02669, section 2 (Consecutive Table Readout)",
    tiny={
        "style": "compact",
        "num_rows": 2,
        "num_cols": 3,
        "path_cells": [2, 4],
        "image": {"cell_width": 32, "cell_height": 32},
    },
)
class ConsecutiveTableReadout(TableTask):
    """Draw tables, and ask for the total along a path of consecutive cells.

    Letters: R rows, C columns.

    The path takes consecutive cells in reading order (after the last column comes the first of the next row), and runs
    backwards with probability 1/2. Names are distinct, values uniform from 0 to 9.

    Style ``compact`` is ours, not the paper's: short names, one line for each row of a table and of the enumeration, so
    that a text fits some hundred tokens and a tiny model can learn the task from scratch on a laptop.

    Args:
        level: sets the length of paths: 5 to 10 cells (``simple``), 15 to 20 (``medium``), 25 to 30 (``hard``).
        num_rows: R.
        num_cols: C.
        path_cells: least and largest length of a path, in place of the level's.
        style: ``latex``, the authors' words, or ``compact``.
        compat: ``s2h`` draws paths as the released generator does: 6 to 10 cells at every level, from a cell uniform in
            the whole table, cut off at its end (1 to 10 cells remain; 8 % are shorter than 5 in a table of 5 x 10).
        image: options of ``TableLook``; default: the authors' figure. In style ``compact`` cells have 32 x 32 pixels
            unless the size of a cell or of the figure is given. ``matplotlib`` draws the authors' figure with their
            package, slowly and to the pixel.
        name_pools: draw rows' and columns' names from the first so many only; a small model learns few names sooner.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``. The authors'
            prompt of ``image`` and ``image_via_text`` is the same: which of the two is asked shows in the target only.

    Raises:
        ConfigError: if an option is unknown, the table needs more names than there are, or the path does not fit.
    """

    def __init__(
        self,
        *,
        level: Level = "simple",
        num_rows: int = 5,
        num_cols: int = 10,
        path_cells: Sequence[int] | None = None,
        style: TableStyle = "latex",
        compat: Compat = None,
        image: TableImage = None,
        name_pools: Sequence[int] | None = None,
        distinct_prompts: bool = False,
    ) -> None:
        check_choice("level", level, get_args(Level))
        check_choice("compat", compat, COMPATS)
        super().__init__(_NAME, level=level, style=style, name_pools=name_pools, distinct_prompts=distinct_prompts)
        self.compat = compat
        self.num_rows = _checked_count("num_rows", num_rows, len(self.wording.row_pool))
        self.num_cols = _checked_count("num_cols", num_cols, len(self.wording.col_pool))
        if compat is not None and path_cells is not None:
            raise ConfigError(f"`path_cells` must be left out with `compat: s2h`, but is {path_cells!r} instead.")
        self.path_cells = None if compat else self._checked_path_cells(path_cells)
        self.renderer = self._renderer(image, num_rows, num_cols)

    def instance(self, seed: int, index: int) -> TableInstance:
        """Draw one table and its path: a function of task, level, ``seed`` and ``index`` alone."""
        draws = Draws(self.name, self.level, seed, index)
        row_names = draws.distinct(self.wording.row_pool, self.num_rows)
        col_names = draws.distinct(self.wording.col_pool, self.num_cols)
        values = tuple([draws.digits(self.num_cols) for _ in range(self.num_rows)])
        return TableInstance(row_names=row_names, col_names=col_names, values=values, path=self._path(draws))

    def _path(self, draws: Draws) -> tuple[tuple[int, int], ...]:
        """Draw the cells to add, in order."""
        num_cells = self.num_rows * self.num_cols
        if self.path_cells is None:
            length = draws.integer(*_S2H_INCREMENT) + 1
            start = draws.integer(0, num_cells - 1)
            stop = min(start + length, num_cells)
        else:
            length = draws.integer(*self.path_cells)
            start = draws.integer(0, num_cells - length)
            stop = start + length
        cells = tuple([divmod(position, self.num_cols) for position in range(start, stop)])
        return cells[::-1] if draws.coin() else cells

    def _checked_path_cells(self, path_cells: Sequence[int] | None) -> tuple[int, int]:
        num_cells = self.num_rows * self.num_cols
        low, high = _PATH_CELLS[self.level] if path_cells is None else _pair(path_cells)
        if not 1 <= low <= high <= num_cells:
            raise ConfigError(
                f"`path_cells` must be two lengths, the least first, from 1 to the {num_cells} cells of the table, but "
                f"is {[low, high]} instead; `path_cells`, `num_rows` and `num_cols` set them."
            )
        return low, high


def _pair(value: Sequence[int]) -> tuple[int, int]:
    """Read two integers."""
    if isinstance(value, str) or not isinstance(value, Sequence) or [type(item) for item in value] != [int, int]:
        raise ConfigError(f"`path_cells` must be two integers, but is {value!r} instead.")
    return value[0], value[1]


def _checked_count(name: str, value: int, num_names: int) -> int:
    if type(value) is not int or not 1 <= value <= num_names:
        raise ConfigError(
            f"`{name}` must be an integer from 1 to {num_names}, the number of names that there are, "
            f"but is {value!r} instead."
        )
    return value
