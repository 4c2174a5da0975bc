"""Tables as pictures: a rasteriser that pastes cached tiles onto a canvas of palette indices.

Source: S2H, arXiv:2501.02669, the figures of the table tasks. A picture holds four fills and the ramps from each fill
to its ink, so that 256 colours say it without loss.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.synthetic import ImageMode
from vlmzoo.data.synthetic._glyphs import Word, cap_height_px, fitting_size_px, label_width_px, word_bitmap
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_layout import TableLayout, figure_layout, grid_layout
from vlmzoo.data.synthetic._table_look import TableLook
from vlmzoo.errors import ConfigError

__all__ = ["DIGIT_WORDS", "TableRenderer"]

DIGIT_WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
_BACKGROUND, _HEADER, _BODY, _HIGHLIGHT = 0, 64, 128, 192  # first index of each ramp of 64
_INK = 63  # last step of a ramp
_BORDER = _BACKGROUND + _INK
_MIN_FONT_PX = 5.0
_FIGURE_FONT_PX = 16 * 100 / 72  # 16 pt at 100 dpi
_LONG_NAME, _LONG_NAME_SCALE = 6, 14 / 16  # column names of more letters are written smaller
_BASELINE_EM = 0.26  # below the middle of a cell in a figure: Matplotlib centres the line, not its capitals
_MAX_TILES = 1024  # kept; some 9 kB each in a figure, where tables of many sizes have cells of many sizes

Indices = NDArray[np.uint8]


class TableRenderer:
    """Draws tables of one look.

    Letters: R rows, C columns.

    Args:
        look: sizes and colours.
        row_pool: all names that a row may have.
        col_pool: all names that a column may have.
        num_rows: largest R that will be drawn.
        num_cols: largest C that will be drawn.

    Raises:
        ConfigError: if the table has no room, or some word would be too small to read in its cell.
    """

    def __init__(
        self, look: TableLook, *, row_pool: Sequence[str], col_pool: Sequence[str], num_rows: int, num_cols: int
    ) -> None:
        self.look = look
        self._palette = _palette(look)
        if look.is_grid:
            self._digit_px = look.font_px or self._fitting(DIGIT_WORDS, bold=False)
            self._name_px = self._fitting([*row_pool, *col_pool], bold=True)
        else:
            self._digit_px = self._name_px = look.font_px or _FIGURE_FONT_PX
        self._label_widths_px = {name: label_width_px(name, self._name_px) for name in row_pool}
        self._tiles: dict[tuple[int, int, int, int], Indices] = {}
        self._layouts: dict[tuple[int, int, float], TableLayout] = {}
        self._layout(num_rows, num_cols, max(self._label_widths_px.values()))

    def draw(self, table: TableInstance, *, mode: ImageMode = "RGB") -> Image.Image:
        """Draw one table, whose names are of the pools.

        Returns:
            An image of mode ``P``, or the same as ``RGB``.
        """
        label_width = max([self._label_widths_px[name] for name in table.row_names])
        layout = self._layout(len(table.row_names), len(table.col_names), label_width)
        canvas = np.full((layout.height, layout.width), _BACKGROUND, np.uint8)
        self._paint_header(canvas, layout, table.col_names)
        self._paint_rows(canvas, layout, table)
        self._close_border(canvas, layout)
        image = Image.fromarray(canvas)
        image.putpalette(self._palette)
        return image if mode == "P" else image.convert("RGB")

    def _paint_header(self, canvas: Indices, layout: TableLayout, names: Sequence[str]) -> None:
        """Paint the column names from left to right: the next cell covers what sticks out, as in Matplotlib."""
        top, bottom = layout.row_edges[:2]
        header = canvas[top:bottom]
        for name, left, right in zip(names, layout.col_edges[1:], layout.col_edges[2:], strict=False):
            self._fill(header[:, left:right], _HEADER)
            size_px = self._name_px * (1.0 if self.look.is_grid or len(name) <= _LONG_NAME else _LONG_NAME_SCALE)
            self._write(header, word_bitmap(name, size_px, bold=True), size_px, left, right, _HEADER)

    def _paint_rows(self, canvas: Indices, layout: TableLayout, table: TableInstance) -> None:
        """Paint row names and values."""
        xs, ys = layout.col_edges, layout.row_edges
        for r, (name, values) in enumerate(zip(table.row_names, table.values, strict=True)):
            top, bottom = ys[r + 1], ys[r + 2]
            row = canvas[top:bottom]
            self._fill(row[:, xs[0] : xs[1]], _HEADER)
            word = word_bitmap(name, self._name_px, bold=True)
            start = None if layout.label_indent is None else xs[0] + layout.label_indent
            self._write(row, word, self._name_px, xs[0], xs[1], _HEADER, start=start)
            for c, value in enumerate(values):
                left, right = xs[c + 1], xs[c + 2]
                fill = _HIGHLIGHT if (r, c) in table.highlighted else _BODY
                row[:, left:right] = self._tile(value, fill, right - left, bottom - top)

    def _tile(self, digit: int, fill: int, width: int, height: int) -> Indices:
        """Return a value's cell, drawn once and kept for a while."""
        key = (digit, fill, width, height)
        if key not in self._tiles:
            if len(self._tiles) == _MAX_TILES:
                self._tiles.clear()
            tile = self._tiles[key] = np.empty((height, width), np.uint8)
            self._fill(tile, fill)
            word = word_bitmap(DIGIT_WORDS[digit], self._digit_px, bold=False)
            self._write(tile, word, self._digit_px, 0, width, fill)
        return self._tiles[key]

    def _fill(self, cell: Indices, fill: int) -> None:
        """Paint a cell without its word, with its border on the left and upper edges."""
        border = self.look.border_px
        cell[:] = fill
        cell[:border] = _BORDER
        cell[:, :border] = _BORDER

    def _write(
        self, strip: Indices, word: Word, size_px: float, left: int, right: int, fill: int, *, start: int | None = None
    ) -> None:
        """Write a word on a strip as high as its cell: from ``start``, or in the middle from ``left`` to ``right``."""
        border = self.look.border_px
        centred = round((left + border + right - word.alpha.shape[1]) / 2)
        x = centred if start is None else start + word.left_px
        in_grid = self.look.is_grid
        below_middle_px = cap_height_px(size_px) / 2 if in_grid else _BASELINE_EM * size_px
        baseline = round((strip.shape[0] + border * in_grid) / 2 + below_middle_px)
        paste_ink(strip, word, x, baseline + word.top_px, fill)

    def _close_border(self, canvas: Indices, layout: TableLayout) -> None:
        """Draw the lines at the right and lower ends, where the canvas has room for them."""
        border, xs, ys = self.look.border_px, layout.col_edges, layout.row_edges
        canvas[ys[0] : ys[-1] + border, xs[-1] : xs[-1] + border] = _BORDER
        canvas[ys[-1] : ys[-1] + border, xs[0] : xs[-1] + border] = _BORDER

    def _layout(self, num_rows: int, num_cols: int, label_width: float) -> TableLayout:
        """Return the layout for a shape and a longest label, computed once."""
        key = (num_rows, num_cols, label_width)
        if key not in self._layouts:
            self._layouts[key] = (
                grid_layout(self.look, num_rows, num_cols)
                if self.look.is_grid
                else figure_layout(self.look, num_rows, num_cols, label_width)
            )
        return self._layouts[key]

    def _fitting(self, words: Sequence[str], *, bold: bool) -> float:
        """Return the em in pixels at which all of ``words`` fit a cell of the grid.

        Raises:
            ConfigError: if that is too small to read.
        """
        look = self.look
        width_px, height_px = (look.cell_width or 0) - look.border_px, (look.cell_height or 0) - look.border_px
        size_px = fitting_size_px(words, width_px=width_px - 2, height_px=0.6 * height_px, bold=bold)
        if size_px < _MIN_FONT_PX:
            raise ConfigError(
                f"`image.cell_width` and `image.cell_height` must let `{max(words, key=len)}` be written in "
                f"{_MIN_FONT_PX} px, but are {look.cell_width} and {look.cell_height} instead: make the cells larger, "
                "or take the short names of style `compact`."
            )
        return size_px


def paste_ink(canvas: Indices, word: Word, left: int, top: int, fill: int) -> None:
    """Set the pixels that a word covers to the ramp of ``fill``; ink beyond the canvas is cut off."""
    height, width = word.alpha.shape
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(canvas.shape[0], top + height), min(canvas.shape[1], left + width)
    if y0 >= y1 or x0 >= x1:
        return
    alpha = word.alpha[y0 - top : y1 - top, x0 - left : x1 - left]
    np.copyto(canvas[y0:y1, x0:x1], fill + (alpha >> 2), where=alpha > 3)


def _palette(look: TableLook) -> bytes:
    """Return 256 colours: for each of four fills, 64 steps from the fill to its ink, as R, G, B bytes."""
    pairs = [
        (look.background_color, look.border_color),
        (look.header_color, look.header_text_color),
        (look.body_color, look.text_color),
        (look.highlight_color, look.text_color),
    ]
    steps = np.linspace(0.0, 1.0, _INK + 1)[:, None]
    ramps = [(1 - steps) * _rgb(fill) + steps * _rgb(ink) for fill, ink in pairs]
    return np.rint(np.concatenate(ramps)).astype(np.uint8).tobytes()


def _rgb(color: str) -> NDArray[np.float64]:
    return np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)], np.float64)
