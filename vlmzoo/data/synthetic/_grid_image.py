"""Grids as pictures: a rasteriser that pastes cached symbols onto a canvas of palette indices.

Source: S2H, arXiv:2501.02669, the figures of Grid Navigation. A picture holds the ramp from paper to ink and two fills,
so that 66 colours say it without loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.synthetic import ImageMode
from vlmzoo.data.synthetic._glyphs import word_bitmap
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_look import GridLayout, GridLook, grid_layout
from vlmzoo.errors import ConfigError

__all__ = ["GridRenderer"]

_PAPER, _INK, _START, _DESTINATION = 0, 63, 64, 65  # paper to ink is a ramp of 64 colours
_MIN_SYMBOL_PX = 6.0
_VARIATION_SELECTORS = str.maketrans("", "", "\ufe0e\ufe0f")  # they have no ink

Indices = NDArray[np.uint8]


class GridRenderer:
    """Draws grids of one look.

    Args:
        look: sizes and colours.
        symbols: what is drawn for each name, one character each.
        num_rows: largest R that will be drawn.
        num_cols: largest C that will be drawn.

    Raises:
        ConfigError: if symbols would be too small to read.
    """

    def __init__(self, look: GridLook, *, symbols: Mapping[str, str], num_rows: int, num_cols: int) -> None:
        self.look = look
        self.symbols = {name: symbol.translate(_VARIATION_SELECTORS) for name, symbol in symbols.items()}
        self._palette = _palette(look)
        self._layouts: dict[tuple[int, int], GridLayout] = {}
        self._fitting_px = float("inf") if look.cell_px is None else self._largest_fitting_px(look.cell_px)
        if self._symbol_px(self._layout(num_rows, num_cols)) < _MIN_SYMBOL_PX:
            size = "size_px" if look.cell_px is None else "cell_px"
            raise ConfigError(
                f"`image.{size}` must let symbols have {_MIN_SYMBOL_PX} px in a grid of {num_rows} x {num_cols} cells, "
                f"but is {getattr(look, size)} instead; make it larger."
            )

    def draw(self, grid: GridInstance, *, mode: ImageMode = "RGB") -> Image.Image:
        """Draw one grid.

        Returns:
            An image of mode ``P``, or the same as ``RGB``.
        """
        layout = self._layout(grid.num_rows, grid.num_cols)
        canvas = np.full((layout.height, layout.width), _PAPER, np.uint8)
        for (row, col), fill in ((grid.start, _START), (grid.destination, _DESTINATION)):
            rows, cols = layout.row_lines[row : row + 2], layout.col_lines[col : col + 2]
            canvas[rows[0] : rows[1], cols[0] : cols[1]] = fill
        _draw_lines(canvas, layout)
        _draw_letters(canvas, layout)
        self._draw_symbols(canvas, layout, grid)
        image = Image.fromarray(canvas)
        image.putpalette(self._palette)
        return image if mode == "P" else image.convert("RGB")

    def _draw_symbols(self, canvas: Indices, layout: GridLayout, grid: GridInstance) -> None:
        """Paste objects and obstacles into the middles of their cells."""
        size_px, is_figure = self._symbol_px(layout), self.look.cell_px is None
        for row, (middle, codes) in enumerate(zip(layout.row_middles, grid.cells, strict=True)):
            for col, code in enumerate(codes):
                if code < 0 or code > 2:
                    ink = _ink(self.symbols[grid.name_at(row, col)], size_px)
                    height, width = ink.ramp.shape
                    top = middle + _from_middle_of_line(ink, size_px) if is_figure else middle - height / 2
                    _paste(canvas, ink.ramp, round(layout.col_middles[col] - width / 2), round(top))

    def _symbol_px(self, layout: GridLayout) -> float:
        """Return the em of symbols."""
        return min(layout.symbol_px, self._fitting_px)

    def _layout(self, num_rows: int, num_cols: int) -> GridLayout:
        """Return the layout for a shape, computed once."""
        if (num_rows, num_cols) not in self._layouts:
            self._layouts[num_rows, num_cols] = grid_layout(self.look, num_rows, num_cols)
        return self._layouts[num_rows, num_cols]

    def _largest_fitting_px(self, cell_px: int) -> float:
        """Return the largest em, a multiple of half a pixel, at which every symbol stays within the lines of a cell."""
        room = cell_px - grid_layout(self.look, 1, 1).line_px - 1
        for half_pixels in range(2 * cell_px, 0, -1):
            shapes = [_ink(symbol, half_pixels / 2).ramp.shape for symbol in self.symbols.values()]
            if max(map(max, shapes)) <= room:
                return half_pixels / 2
        return 0.0


@dataclass(frozen=True)
class _Ink:
    """What a character leaves on the paper.

    Args:
        ramp: ``(H, W)``, from 0 for paper to 63 for ink; its outer rows and columns are not empty.
        left_px: from the pen to the left edge of ``ramp``.
        top_px: from the baseline to the top edge of ``ramp``; negative above the baseline.
        advance_px: from pen to pen.
    """

    ramp: Indices
    left_px: int
    top_px: int
    advance_px: float


@lru_cache(maxsize=1024)
def _ink(text: str, size_px: float) -> _Ink:
    """Draw ``text`` with an em of ``size_px`` pixels."""
    word = word_bitmap(text, size_px, bold=False)
    ramp = (word.alpha >> 2).astype(np.uint8)
    rows, cols = np.flatnonzero(ramp.any(axis=1)), np.flatnonzero(ramp.any(axis=0))
    if not rows.size:  # too small to leave a trace
        return _Ink(ramp, word.left_px, word.top_px, word.advance_px)
    tight = ramp[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return _Ink(tight, word.left_px + int(cols[0]), word.top_px + int(rows[0]), word.advance_px)


def _from_middle_of_line(ink: _Ink, size_px: float) -> float:
    """Return how far below the middle of a line its ink begins, in pixels.

    Matplotlib takes a line to be at least as high, and to reach at least as far down, as the letters ``lp``.
    """
    line = _ink("lp", size_px)
    height = max(ink.ramp.shape[0], line.ramp.shape[0])
    descent = max(ink.ramp.shape[0] + ink.top_px, line.ramp.shape[0] + line.top_px)
    return height / 2 - descent + ink.top_px


def _draw_lines(canvas: Indices, layout: GridLayout) -> None:
    """Draw the lines between cells, and around them as far as they stand within the outermost middles."""
    before, after = (layout.line_px - 1) // 2, layout.line_px // 2
    xs, ys = layout.col_lines, layout.row_lines
    for x in xs:
        canvas[ys[0] : ys[-1] + 1, max(x - before, xs[0]) : min(x + after, xs[-1]) + 1] = _INK
    for y in ys:
        canvas[max(y - before, ys[0]) : min(y + after, ys[-1]) + 1, xs[0] : xs[-1] + 1] = _INK


def _draw_letters(canvas: Indices, layout: GridLayout) -> None:
    """Draw the letters of the rows on the left and those of the columns below, with their marks."""
    tick = layout.tick_px
    for row, middle in enumerate(layout.row_middles):
        ink = _ink(chr(ord("a") + row), layout.letter_px)
        x = layout.row_letters_right - ink.advance_px + ink.left_px
        _paste(canvas, ink.ramp, round(x), round(middle + layout.row_baseline) + ink.top_px)
        canvas[int(middle), layout.col_lines[0] - tick : layout.col_lines[0]] = _INK
    for col, middle in enumerate(layout.col_middles):
        ink = _ink(chr(ord("a") + col), layout.letter_px)
        x = middle - ink.advance_px / 2 + ink.left_px
        _paste(canvas, ink.ramp, round(x), round(layout.col_baseline) + ink.top_px)
        canvas[layout.row_lines[-1] : layout.row_lines[-1] + 1 + tick, int(middle)] = _INK


def _paste(canvas: Indices, ramp: Indices, left: int, top: int) -> None:
    """Lay ink over what is there; ink beyond the canvas is cut off."""
    y, x = max(0, top), max(0, left)
    ink = ramp[y - top : canvas.shape[0] - top, x - left : canvas.shape[1] - left]
    region = canvas[y : y + ink.shape[0], x : x + ink.shape[1]]
    np.maximum(region, ink, out=region)


def _palette(look: GridLook) -> bytes:
    """Return 66 colours as R, G, B bytes: 64 steps from paper to ink, then the two fills."""
    steps = np.linspace(0.0, 1.0, _INK + 1)[:, None]
    ramp = (1 - steps) * _rgb(look.background_color) + steps * _rgb(look.ink_color)
    fills = [_rgb(look.start_color), _rgb(look.destination_color)]
    return np.rint(np.concatenate([ramp, fills])).astype(np.uint8).tobytes()


def _rgb(color: str) -> NDArray[np.float64]:
    return np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)], np.float64)
