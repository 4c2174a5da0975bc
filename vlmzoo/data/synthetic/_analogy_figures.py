"""The panels of a visual analogy as pixels: lines and shapes drawn once, and pasted.

Source: S2H, arXiv:2501.02669, figures of Visual Analogy. Panels are the authors' to the pixel.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vlmzoo.data.synthetic._analogy import Line, Panel, Shape
from vlmzoo.data.synthetic._analogy_raster import (
    Mask,
    draw_circle,
    draw_line,
    draw_outline,
    fill_circle,
    fill_polygon,
    fill_rectangle,
)

__all__ = ["PANEL_PX", "paint_panel"]

PANEL_PX = 160
_WHITE = 255
_LINE_PX, _OUTLINE_PX = 4, 2
_LINE_RADIUS = PANEL_PX // 5
_TILE_PX = 64  # holds the largest shape
_LINES: Mapping[str, Sequence[tuple[float, float]]] = {  # (x, y) in panels; three corners or more are closed
    "falling diagonal line": [(0, 0), (1, 1)],
    "rising diagonal line": [(0, 1), (1, 0)],
    "horizontal line": [(0, 0.5), (1, 0.5)],
    "vertical line": [(0.5, 0), (0.5, 1)],
    "diamond lines": [(0.5, 0), (0, 0.5), (0.5, 1), (1, 0.5)],
    "V-shape facing up": [(0, 0), (0.5, 1), (1, 0)],
    "V-shape facing left": [(0, 0), (1, 0.5), (0, 1)],
    "V-shape facing down": [(0, 1), (0.5, 0), (1, 1)],
    "V-shape facing right": [(1, 0), (0, 0.5), (1, 1)],
}
_POLYGONS: Mapping[str, Sequence[tuple[float, float]]] = {  # (x, y) from the centre, in sizes
    "triangle": [(0, -0.5), (0.577, 0.5), (-0.577, 0.5)],
    "pentagon": [(0, -0.5), (-0.525, -0.12), (-0.324, 0.496), (0.324, 0.496), (0.525, -0.12)],
    "hexagon": [(0.5, 0), (0.25, -0.45), (-0.25, -0.45), (-0.5, 0), (-0.25, 0.45), (0.25, 0.45)],
}
_CENTRES = (PANEL_PX // 5, PANEL_PX // 2, PANEL_PX * 4 // 5)  # of the three rows, and of the three columns


def paint_panel(panel: Panel, canvas: NDArray[np.uint8]) -> None:
    """Draw the objects of a panel, one over the other.

    Args:
        panel: what is drawn.
        canvas: ``(160, 160)`` grey levels, which are overwritten.
    """
    canvas[:] = _WHITE
    for item in panel.objects:
        if isinstance(item, Line):
            canvas[_line_mask(item.type)] = item.color
        else:
            _paint_shape(item, canvas)


def _paint_shape(shape: Shape, canvas: NDArray[np.uint8]) -> None:
    tile, mask = _shape_tile(shape.type, shape.size, shape.color)
    top, left = (_CENTRES[index] - _TILE_PX // 2 for index in shape.position)
    place = canvas[top : top + _TILE_PX, left : left + _TILE_PX]
    np.copyto(place, tile, where=mask)


@cache
def _line_mask(figure: str) -> Mask:
    mask = np.zeros((PANEL_PX, PANEL_PX), np.bool_)
    if figure == "circular line":
        draw_circle(mask, (PANEL_PX // 2, PANEL_PX // 2), _LINE_RADIUS, thickness=_LINE_PX)
        return mask
    corners = [(int(x * PANEL_PX), int(y * PANEL_PX)) for x, y in _LINES[figure]]
    if len(corners) == 2:
        draw_line(mask, *corners, thickness=_LINE_PX)
    else:
        draw_outline(mask, corners, thickness=_LINE_PX)
    return mask


@cache
def _shape_tile(figure: str, size: int, color: int) -> tuple[NDArray[np.uint8], Mask]:
    """Return the pixels of a shape in the middle of a tile, and which of them belong to it."""
    inner, outline = _shape_masks(figure, size)
    return np.where(outline, 0, color).astype(np.uint8), inner | outline


@cache
def _shape_masks(figure: str, size: int) -> tuple[Mask, Mask]:
    """Return the inside of a shape and its outline, in the middle of a tile."""
    inner, outline = (np.zeros((_TILE_PX, _TILE_PX), np.bool_) for _ in range(2))
    middle = _TILE_PX // 2
    if figure == "circle":
        fill_circle(inner, (middle, middle), size // 2)
        draw_circle(outline, (middle, middle), size // 2, thickness=_OUTLINE_PX)
    elif figure == "rectangle":
        low, high = int(middle - size / 2), int(middle + size / 2)
        fill_rectangle(inner, (low, low), (high, high))
        draw_outline(outline, [(low, low), (high, low), (high, high), (low, high)], thickness=_OUTLINE_PX)
    else:
        corners = [(int(x * size + middle), int(y * size + middle)) for x, y in _POLYGONS[figure]]
        fill_polygon(inner, corners)
        draw_outline(outline, corners, thickness=_OUTLINE_PX)
    return inner, outline
