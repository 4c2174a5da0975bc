"""How a grid is drawn: sizes and colours, as a config writes them, and where its lines and letters then stand.

Source: S2H, arXiv:2501.02669; the numbers of ``figure_layout`` are those of the authors' figures, which Matplotlib laid
out. Letters: R rows, C columns.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["GridLayout", "GridLook", "grid_layout"]

_HEX = re.compile("#[0-9a-fA-F]{6}")
_FIGURE_PX = 1000
_AXES_PX = (775.0, 770.0)  # width and height of the room for the cells
_AXES_MIDDLE_PX = (512.5, 505.0)
_LINE_PX = 3
_TICK_PX = 5
_SYMBOL_PX, _LETTER_PX = 40 * 100 / 72, 20 * 100 / 72  # 40 pt and 20 pt at 100 dpi
_MAX_SYMBOL_CELL = _SYMBOL_PX / (_AXES_PX[1] / 12)  # em of a symbol by its cell, in the largest of the authors' grids
_MAX_LETTER_CELL = 0.8
_LETTER_GAP_PX = 9.4  # from the left line to the end of a row's letter
_ROW_BASELINE_EM, _COL_BASELINE_EM = 0.395, 1.152  # below the middle of a row, below the lowest line


@dataclass(frozen=True, kw_only=True)
class GridLook:
    """Sizes and colours of a drawn grid; the defaults are those of the S2H figures (1000 x 1000 pixels).

    There are two arrangements. Without ``cell_px`` the grid stands in a square figure, as the authors' Matplotlib lays
    it out; all lengths grow and shrink with ``size_px``. With ``cell_px`` every cell is a square of so many pixels, the
    letters take a column on the left and a row below, and the canvas is (C + 1) x (R + 1) cells: so a patch of a ViT is
    a cell.

    Args:
        size_px: side of the figure; default 1000. It follows from the cells where ``cell_px`` is given.
        cell_px: side of every cell.
        border_px: width of the lines; default: 3 in a figure of 1000 pixels, 1 with ``cell_px``.
        start_color: fill of the start, as ``#rrggbb``.
        destination_color: fill of the destination.
        ink_color: of symbols, letters and lines.
        background_color: of everything else.

    Raises:
        ConfigError: if a size is not positive, a colour is not ``#rrggbb``, or sizes of both arrangements are given.
    """

    size_px: int | None = None
    cell_px: int | None = None
    border_px: int | None = None
    start_color: str = "#87ceeb"
    destination_color: str = "#006400"
    ink_color: str = "#000000"
    background_color: str = "#ffffff"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_color"):
                _check_color(field.name, value)
            elif value is not None:
                _check_size(field.name, value)
        if self.size_px is not None and self.cell_px is not None:
            raise ConfigError(
                f"`image.size_px` must be left out where `image.cell_px` is given, but is {self.size_px} instead: the "
                "canvas is as large as its cells."
            )

    @classmethod
    def parse(cls, value: "Mapping[str, Any] | GridLook | None") -> "GridLook":
        """Read a look from a config.

        Raises:
            ConfigError: if an option is unknown, or a value is out of range.
        """
        if isinstance(value, GridLook):
            return value
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(f"`image` must be a mapping of options, but is {value!r} instead.")
        options = value or {}
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise ConfigError(f"`image` takes no `{name}`.{nearest_hint(str(name), known)}")
        return cls(**options)


@dataclass(frozen=True, kw_only=True)
class GridLayout:
    """Where everything stands, in pixels.

    Args:
        width: of the canvas.
        height: of the canvas.
        col_lines: middles of the C + 1 vertical lines.
        row_lines: middles of the R + 1 horizontal lines.
        col_middles: of the C columns.
        row_middles: of the R rows.
        line_px: width of a line.
        tick_px: length of the marks between lines and letters; 0 for none.
        symbol_px: largest em of a symbol.
        letter_px: em of a letter.
        row_letters_right: where the letters of the rows end.
        row_baseline: from the middle of a row to the baseline of its letter.
        col_baseline: the baseline of the letters of the columns.
    """

    width: int
    height: int
    col_lines: tuple[int, ...]
    row_lines: tuple[int, ...]
    col_middles: tuple[float, ...]
    row_middles: tuple[float, ...]
    line_px: int
    tick_px: int
    symbol_px: float
    letter_px: float
    row_letters_right: float
    row_baseline: float
    col_baseline: float


def grid_layout(look: GridLook, num_rows: int, num_cols: int) -> GridLayout:
    """Lay out a grid of R rows and C columns."""
    return (_figure_layout if look.cell_px is None else _cell_layout)(look, num_rows, num_cols)


def _figure_layout(look: GridLook, num_rows: int, num_cols: int) -> GridLayout:
    """Lay out a grid in the middle of the axes, with square cells as large as fit."""
    size = look.size_px or _FIGURE_PX
    scale = size / _FIGURE_PX
    cell = min(_AXES_PX[0] / num_cols, _AXES_PX[1] / num_rows)
    left, top = _AXES_MIDDLE_PX[0] - cell * num_cols / 2, _AXES_MIDDLE_PX[1] - cell * num_rows / 2
    letter = min(_LETTER_PX, _MAX_LETTER_CELL * cell)
    return GridLayout(
        width=size,
        height=size,
        col_lines=tuple([int(scale * (left + cell * col) + 0.5) for col in range(num_cols + 1)]),
        row_lines=tuple([int(scale * (top + cell * row) + 0.5) for row in range(num_rows + 1)]),
        col_middles=tuple([scale * (left + cell * (col + 0.5)) for col in range(num_cols)]),
        row_middles=tuple([scale * (top + cell * (row + 0.5)) for row in range(num_rows)]),
        line_px=look.border_px or max(1, round(scale * _LINE_PX)),
        tick_px=round(scale * _TICK_PX),
        symbol_px=scale * min(_SYMBOL_PX, _MAX_SYMBOL_CELL * cell),
        letter_px=scale * letter,
        row_letters_right=scale * (left - _LETTER_GAP_PX),
        row_baseline=scale * _ROW_BASELINE_EM * letter,
        col_baseline=scale * (top + cell * num_rows + _COL_BASELINE_EM * letter),
    )


def _cell_layout(look: GridLook, num_rows: int, num_cols: int) -> GridLayout:
    """Lay out cells of one size, with a column of letters before them and a row of letters below."""
    cell = look.cell_px or 1
    letter = 0.5 * cell
    return GridLayout(
        width=cell * (num_cols + 1),
        height=cell * (num_rows + 1),
        col_lines=tuple([min(cell * col, cell * (num_cols + 1) - 1) for col in range(1, num_cols + 2)]),
        row_lines=tuple([cell * row for row in range(num_rows + 1)]),
        col_middles=tuple([cell * (col + 1.5) for col in range(num_cols)]),
        row_middles=tuple([cell * (row + 0.5) for row in range(num_rows)]),
        line_px=look.border_px or 1,
        tick_px=0,
        symbol_px=float(cell),
        letter_px=letter,
        row_letters_right=0.7 * cell,
        row_baseline=0.27 * letter,
        col_baseline=cell * (num_rows + 0.5) + 0.27 * letter,
    )


def _check_color(name: str, value: object) -> None:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ConfigError(f"`image.{name}` must be a colour such as '#40466e', but is {value!r} instead.")


def _check_size(name: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= 10_000:
        raise ConfigError(f"`image.{name}` must be an integer from 1 to 10000, but is {value!r} instead.")
