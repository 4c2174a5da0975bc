"""Visual analogies as pictures: framed panels in rows, and the question mark that an option is to replace.

Source: S2H, arXiv:2501.02669, figures of Visual Analogy; the places of the panels were measured on the authors'
figures, which Matplotlib laid out. Panels are painted in 160 x 160 pixels and resampled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.synthetic import ImageMode
from vlmzoo.data.synthetic._analogy import AnalogyInstance, Panel
from vlmzoo.data.synthetic._analogy_figures import PANEL_PX, paint_panel
from vlmzoo.data.synthetic._glyphs import word_bitmap
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["AnalogyLook", "AnalogyRenderer"]

Grey = NDArray[np.uint8]

_WHITE, _BLACK = 255, 0
_FIGURE_SIZE_PX = (800, 900)
_FIGURE_PANEL_PX = 189
_FIGURE_ROWS = ((4, 4, 193), (204, 205, 393), (404, 405, 593), (707, 707, 896))  # panel's top; frame's top and bottom
_FIGURE_COLUMNS = ((108, 306, 504),) * 3 + ((6, 206, 406, 606),)
_FIGURE_MARK_EM_PX = 50 * 100 / 72  # 50 pt at 100 dpi
_FIGURE_MARK = (579, 466)  # left and top of the question mark
_SPILL = 241 / 255  # what a frame, a little more than a pixel wide, leaves of the light of the pixels beside it
_PANEL_LIMITS_PX = (24, 1000)
_MARK_EM = 0.4  # of the question mark's panel
_GREYS = bytes([level for level in range(256) for _ in range(3)])


@dataclass(frozen=True, kw_only=True)
class AnalogyLook:
    """How a puzzle is drawn; the default is the authors' figure of 800 x 900 pixels.

    Args:
        panel_px: side of a panel with its frame. Where it is given, the canvas is a grid of four by four panels without
            gaps: three rows of three, and the four options below. So a patch of a ViT is part of one panel.

    Raises:
        ConfigError: if a panel would be too small to see, or too large.
    """

    panel_px: int | None = None

    def __post_init__(self) -> None:
        low, high = _PANEL_LIMITS_PX
        if self.panel_px is not None and (type(self.panel_px) is not int or not low <= self.panel_px <= high):
            raise ConfigError(
                f"`image.panel_px` must be an integer from {low} to {high}, but is {self.panel_px!r} instead; leave it "
                "out for the authors' figure."
            )

    @classmethod
    def parse(cls, value: "Mapping[str, Any] | AnalogyLook | None") -> "AnalogyLook":
        """Read a look from a config.

        Raises:
            ConfigError: if an option is unknown, or a value is out of range.
        """
        if isinstance(value, AnalogyLook):
            return value
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise ConfigError(f"`image` must be a mapping of options, but is {value!r} instead.")
        known = [field.name for field in fields(cls)]
        for name in value:
            if name not in known:
                raise ConfigError(f"`image` takes no `{name}`.{nearest_hint(str(name), known)}")
        return cls(**value)


class _Place(NamedTuple):
    """Where a panel stands: its pixels begin at (left, top), and its frame cuts them off."""

    left: int
    top: int
    frame_top: int
    frame_bottom: int


class AnalogyRenderer:
    """Draws puzzles of one look.

    Args:
        look: the size of the panels.
    """

    def __init__(self, look: AnalogyLook) -> None:
        self.look = look
        self._is_figure = look.panel_px is None
        self._side = look.panel_px or _FIGURE_PANEL_PX
        places = _figure_places() if look.panel_px is None else _grid_places(look.panel_px)
        self._places = places[:8] + places[9:]  # the ninth holds the question mark
        self._empty = self._draw_empty(places)

    def draw(self, puzzle: AnalogyInstance, *, mode: ImageMode = "RGB") -> Image.Image:
        """Draw one puzzle.

        Returns:
            An image of mode ``P``, or the same as ``RGB``.
        """
        panels = [*[panel for example in puzzle.examples for panel in example], *puzzle.query, *puzzle.options]
        canvas, painted = self._empty.copy(), np.empty((PANEL_PX, PANEL_PX), np.uint8)
        for panel, place in zip(panels, self._places, strict=True):
            self._paint(canvas, panel, place, painted)
        image = Image.fromarray(canvas)
        if mode == "P":
            image.putpalette(_GREYS)
            return image
        return image.convert("RGB")

    def _paint(self, canvas: Grey, panel: Panel, place: _Place, painted: Grey) -> None:
        """Paint a panel within its frame."""
        paint_panel(panel, painted)
        pixels = _figure_pixels(painted) if self._is_figure else _grid_pixels(painted, self._side)
        inner = pixels[place.frame_top + 1 - place.top : place.frame_bottom - place.top, 1:-1]
        if self._is_figure:
            for edge in (inner[0], inner[-1], inner[1:-1, 0], inner[1:-1, -1]):
                edge[:] = edge * _SPILL
        canvas[place.frame_top + 1 : place.frame_bottom, place.left + 1 : place.left + self._side - 1] = inner

    def _draw_empty(self, places: Sequence[_Place]) -> Grey:
        """Draw the frames and the question mark."""
        side = self._side
        width, height = _FIGURE_SIZE_PX if self._is_figure else (4 * side, 4 * side)
        canvas = np.full((height, width), _WHITE, np.uint8)
        for place in places:
            if self._is_figure:
                _draw_frame(canvas, place, side, outset=1, level=round(_WHITE * _SPILL))
                _draw_frame(canvas, place, side, outset=-1, level=round(_WHITE * _SPILL))
            _draw_frame(canvas, place, side, outset=0, level=_BLACK)
        mark = word_bitmap("?", _FIGURE_MARK_EM_PX if self._is_figure else _MARK_EM * side, bold=False).alpha
        left, top = _FIGURE_MARK
        if not self._is_figure:
            left, top = (
                start + (side - size) // 2 for start, size in zip(places[8][:2], mark.shape[::-1], strict=True)
            )
        canvas[top : top + mark.shape[0], left : left + mark.shape[1]] = _WHITE - mark
        return canvas


def _draw_frame(canvas: Grey, place: _Place, side: int, *, outset: int, level: int) -> None:
    """Draw a rectangle one pixel wide, ``outset`` pixels outside the frame of a panel."""
    left, right = place.left - outset, place.left + side - 1 + outset
    top, bottom = place.frame_top - outset, place.frame_bottom + outset
    canvas[[top, bottom], left : right + 1] = level
    canvas[top : bottom + 1, [left, right]] = level


def _figure_places() -> list[_Place]:
    rows = zip(_FIGURE_ROWS, _FIGURE_COLUMNS, strict=True)
    return [_Place(left, *row) for row, columns in rows for left in columns]


def _grid_places(side: int) -> list[_Place]:
    corners = [(col * side, row * side) for row, columns in enumerate((3, 3, 3, 4)) for col in range(columns)]
    return [_Place(left, top, top, top + side - 1) for left, top in corners]


def _grid_pixels(painted: Grey, side: int) -> Grey:
    """Resample a panel to a square of ``side`` pixels."""
    return np.array(Image.fromarray(painted).resize((side, side), Image.Resampling.HAMMING))


def _figure_pixels(painted: Grey) -> Grey:
    """Resample a panel as Matplotlib does: between two pixels, by Hanning's window; within two grey levels."""
    first, second, weight = _figure_weights()
    tall = _mixed(painted[first], painted[second], weight[:, None])
    return _mixed(np.take(tall, first, axis=1), np.take(tall, second, axis=1), weight)


def _mixed(first: Grey, second: Grey, weight: NDArray[np.uint16]) -> Grey:
    """Return the means of two arrays; the weight of the second is in 256ths."""
    return ((first * (256 - weight) + second * weight + 128) >> 8).astype(np.uint8)


@cache
def _figure_weights() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint16]]:
    """Return, for each pixel of a row, the two pixels that it lies between and the second one's weight in 256ths.

    Places between pixels are multiples of 1/256 in Agg, Matplotlib's rasteriser, and lie 1/256 beside the middle.
    """
    centres = (np.arange(_FIGURE_PANEL_PX) + 0.5) * PANEL_PX / _FIGURE_PANEL_PX - 0.5
    places = np.rint(256 * centres + 1) / 256
    first = np.floor(places).astype(np.intp)
    weight = np.rint(128 - 128 * np.cos(np.pi * (places - first))).astype(np.uint16)
    return np.clip(first, 0, PANEL_PX - 1), np.clip(first + 1, 0, PANEL_PX - 1), weight
