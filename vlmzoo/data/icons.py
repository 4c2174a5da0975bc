"""Coloured shapes on a grid: a world so small that what a caption claims can be checked, and drawn.

Letters: N icons of a scene.
"""

import random
import re
from collections.abc import Sequence

from PIL import Image, ImageDraw

from vlmzoo.errors import DataError

__all__ = ["ICONS", "caption_of", "draw_icons", "icons_in", "partner_of"]

_COLOURS = {"red": (214, 48, 49), "blue": (45, 95, 220), "green": (40, 160, 75), "yellow": (235, 190, 20)}
_SHAPES = ("circle", "square", "triangle")
_GREYS = ((222, 222, 226), (206, 206, 210), (236, 236, 238))
_GRID = 3

ICONS: tuple[str, ...] = tuple(f"{colour} {shape}" for shape in _SHAPES for colour in _COLOURS)
"""All kinds of icon, e.g. ``red circle``, in the order in which captions name them."""

_NAMED = re.compile(rf"\b({'|'.join(_COLOURS)})\s+({'|'.join(_SHAPES)})s?\b", re.IGNORECASE)


def partner_of(icon: str) -> str:
    """Return the icon that mostly comes along with one; partners come in pairs."""
    number = ICONS.index(icon)
    return ICONS[number + 1 if number % 2 == 0 else number - 1]


def icons_in(text: str) -> list[str]:
    """Return the icons that a text names, each once, in the order of their first naming."""
    return list(dict.fromkeys(f"{colour} {shape}".lower() for colour, shape in _NAMED.findall(text)))


def caption_of(icons: Sequence[str]) -> str:
    """Return a caption that names icons in the order of ``ICONS``."""
    named = [f"a {icon}" for icon in ICONS if icon in icons]
    return ", ".join(named) if named else "nothing"


def draw_icons(icons: Sequence[str], *, canvas_px: int, seed: int | str) -> Image.Image:
    """Draw N icons, each in a cell of its own.

    Args:
        icons: at most nine, one for each cell of the grid.
        canvas_px: side of the picture.
        seed: of places, sizes and background.

    Raises:
        DataError: if there are more icons than cells, or one is unknown.
    """
    unknown = [icon for icon in icons if icon not in ICONS]
    if unknown or len(icons) > _GRID * _GRID:
        raise DataError(
            f"`icons` must be at most {_GRID * _GRID} of {', '.join(ICONS)}, but are {list(icons)} instead."
        )
    draw = random.Random(f"icons/{seed}")
    picture = Image.new("RGB", (canvas_px, canvas_px), draw.choice(_GREYS))
    pen = ImageDraw.Draw(picture)
    cell = canvas_px / _GRID
    for icon, place in zip(icons, draw.sample(range(_GRID * _GRID), len(icons)), strict=True):
        radius = cell * draw.uniform(0.3, 0.42)
        column, row = place % _GRID, place // _GRID
        x, y = ((number + 0.5) * cell + draw.uniform(-1, 1) * (cell / 2 - radius) for number in (column, row))
        colour, shape = icon.split()
        _draw_shape(pen, shape, (x, y), radius, _COLOURS[colour])
    return picture


def _draw_shape(
    pen: ImageDraw.ImageDraw, shape: str, centre: tuple[float, float], radius: float, fill: tuple[int, int, int]
) -> None:
    x, y = centre
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    elif shape == "square":
        pen.rectangle((x - 0.85 * radius, y - 0.85 * radius, x + 0.85 * radius, y + 0.85 * radius), fill=fill)
    else:
        pen.polygon([(x, y - radius), (x - radius, y + 0.9 * radius), (x + radius, y + 0.9 * radius)], fill=fill)
