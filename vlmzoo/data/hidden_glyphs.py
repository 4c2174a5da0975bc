"""Rooms with one small thing in them: furniture, grey pebbles that distract, and a glyph whose colour is asked for.

A glyph is tiny, so that a picture that is scaled down does not show it, or large. With some probability it stands on
the class of furniture that glyphs of its shape belong to, so that a search can learn where to look first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._scene_image import INSIDE
from vlmzoo.data.synthetic._scene_rules import COLORS
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame, Mask

__all__ = ["BELONGS", "FURNITURE", "GLYPH_COLORS", "Glyph", "Room", "RoomRules", "Size", "draw_room"]

Size: TypeAlias = Literal["tiny", "large"]
BELONGS: Mapping[str, str] = {"star": "table", "ring": "shelf", "cross": "sofa", "triangle": "bed"}
"""The furniture on which a glyph of each shape mostly stands."""
FURNITURE: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int], str]] = {
    "table": ((158, 122, 78), (132, 98, 56), "rows"),
    "shelf": ((92, 118, 152), (66, 90, 124), "columns"),
    "sofa": ((104, 138, 84), (78, 110, 60), "checks"),
    "bed": ((160, 112, 138), (136, 88, 114), "plain"),
}
"""Two muted colours and a pattern for each class."""
GLYPH_COLORS: Sequence[str] = ("red", "green", "blue", "yellow", "purple", "cyan")
_PEBBLES: Sequence[str] = ("circle", "square", "hexagon")
_GREYS: Mapping[str, tuple[int, int, int]] = {"dark": (40, 40, 40), "grey": (176, 176, 176), "light": (226, 226, 226)}
_RGB: Mapping[str, tuple[int, int, int]] = {**COLORS, **_GREYS}
_GROUND, _NOISE = 104, 32  # the background's grey levels, about the mean of what encoders are told to expect
_GAP_PX = 1.0
_BAND_PX = 4  # of the patterns of furniture
_MAX_TRIES = 200


@dataclass(frozen=True, kw_only=True)
class Glyph:
    """One thing in a room.

    Args:
        shape: its name.
        color: its name.
        x_px: of its centre.
        y_px: of its centre.
        side_px: of the square around it.
    """

    shape: str
    color: str
    x_px: float
    y_px: float
    side_px: float

    def box(self, frame: Frame) -> Box:
        """Return the square around it."""
        half = self.side_px / 2
        return Box(frame=frame, x0=self.x_px - half, y0=self.y_px - half, x1=self.x_px + half, y1=self.y_px + half)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What stands where.

    Args:
        name: unique.
        side_px: of the picture, which is a square.
        furniture: classes with the edges x0, y0, x1, y1 of each piece, in pixels.
        pebbles: what distracts; their shapes are never asked for.
        target: the glyph that is asked about.
        size: of the target.
        texture: key of the background's noise.
    """

    name: str
    side_px: int
    furniture: Sequence[tuple[str, tuple[int, int, int, int]]]
    pebbles: Sequence[Glyph]
    target: Glyph
    size: Size
    texture: int

    @property
    def frame(self) -> Frame:
        """The frame of the picture."""
        return Frame.original(self.name, width=self.side_px, height=self.side_px)

    @property
    def box(self) -> Box:
        """Where the target is."""
        return self.target.box(self.frame)

    def furniture_boxes(self, name: str) -> list[Box]:
        """Return the pieces of a class."""
        return [Box.from_xyxy(edges, frame=self.frame) for kind, edges in self.furniture if kind == name]

    def target_mask(self) -> Mask:
        """Return the target's pixels."""
        array = np.zeros((self.side_px, self.side_px), dtype=bool)
        inside, rows, columns = _window(self.target)
        array[rows, columns] = inside
        return Mask(array, frame=self.frame)

    def picture(self) -> Image.Image:
        """Draw the room in RGB."""
        side = self.side_px
        noise = np.random.PCG64(self.texture).random_raw(-(-side * side // 8))  # the raw stream is kept for ever
        grain = np.asarray(noise, dtype="<u8").view(np.uint8)[: side * side].reshape(side, side) % _NOISE
        pixels = np.repeat((_GROUND + grain)[..., None], 3, axis=2).astype(np.uint8)
        for kind, (x0, y0, x1, y1) in self.furniture:
            pixels[y0:y1, x0:x1] = _pattern(kind, side)[: y1 - y0, : x1 - x0] + grain[y0:y1, x0:x1, None] // 2
        for glyph in (*self.pebbles, self.target):
            inside, rows, columns = _window(glyph)
            pixels[rows, columns][inside] = _RGB[glyph.color]
        return Image.fromarray(pixels)


@dataclass(frozen=True, kw_only=True)
class RoomRules:
    """What rooms are like; lengths are fractions of the picture's side.

    Args:
        side_px: of the picture.
        num_furniture: the least and the largest number of pieces.
        num_pebbles: likewise.
        pebble: sides of pebbles, the least and the largest.
        tiny: sides of tiny targets, likewise.
        large: sides of large targets, likewise.
        at_home: how often the target stands on the furniture that it belongs to.

    Raises:
        ConfigError: if a range is empty or out of range.
    """

    side_px: int = 256
    num_furniture: tuple[int, int] = (2, 4)
    num_pebbles: tuple[int, int] = (4, 8)
    pebble: tuple[float, float] = (0.06, 0.12)
    tiny: tuple[float, float] = (0.016, 0.024)
    large: tuple[float, float] = (0.094, 0.146)
    at_home: float = 0.8

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.side_px < 64:
            raise ConfigError(f"`side_px` must be at least 64, but is {self.side_px} instead.")
        for name in ("num_furniture", "num_pebbles", "pebble", "tiny", "large"):
            pair = tuple(getattr(self, name))
            if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
                raise ConfigError(f"`{name}` must be two growing numbers, but is {list(pair)} instead.")
            object.__setattr__(self, name, pair)
        if self.num_furniture[0] < 1 or max(self.large[1], self.pebble[1]) > 0.3 or self.tiny[0] <= 0:
            raise ConfigError(
                "A room must have at least one piece of furniture, and sides of things above 0 and up to 0.3, but has "
                f"{self.num_furniture[0]}, and up to {max(self.large[1], self.pebble[1])}."
            )
        if not 0 <= self.at_home <= 1:
            raise ConfigError(f"`at_home` must be within [0, 1], but is {self.at_home} instead.")


def draw_room(rules: RoomRules, size: Size, *, seed: int, index: int) -> Room:
    """Draw one room: a function of rules, size, ``seed`` and ``index`` alone."""
    draws = Draws("hidden_glyphs", size, seed, index)
    shape = list(BELONGS)[draws.integer(0, len(BELONGS) - 1)]
    furniture = _furniture(rules, BELONGS[shape], draws)
    target = _target(rules, size, shape, furniture, draws)
    pebbles: list[Glyph] = []
    for _ in range(draws.integer(*rules.num_pebbles)):
        for _ in range(_MAX_TRIES):
            side = _between(*rules.pebble, draws) * rules.side_px
            pebble = _glyph(_one(_PEBBLES, draws), _one(tuple(_GREYS), draws), side, (0, 0, 1, 1), rules, draws)
            if all(_apart(pebble, other) for other in (*pebbles, target)):
                pebbles.append(pebble)
                break
    return Room(
        name=f"room/{size}/{seed}/{index}",
        side_px=rules.side_px,
        furniture=furniture,
        pebbles=pebbles,
        target=target,
        size=size,
        texture=draws.integer(0, 2**31),
    )


def _furniture(rules: RoomRules, needed: str, draws: Draws) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Draw pieces of different classes, one of them of the class that is needed."""
    number = min(draws.integer(*rules.num_furniture), len(FURNITURE))
    others = [name for name in FURNITURE if name != needed]
    kinds = draws.distinct([needed, *draws.distinct(others, number - 1)], number)
    found: list[tuple[str, tuple[int, int, int, int]]] = []
    for kind in kinds:
        for _ in range(_MAX_TRIES):
            width, height = (round(_between(0.2, 0.34, draws) * rules.side_px) for _ in range(2))
            x0, y0 = draws.integer(0, rules.side_px - width), draws.integer(0, rules.side_px - height)
            edges = (x0, y0, x0 + width, y0 + height)
            if all(not _overlap(edges, other) for _, other in found):
                found.append((kind, edges))
                break
    return found if any(kind == needed for kind, _ in found) else _furniture(rules, needed, draws)


def _target(
    rules: RoomRules, size: Size, shape: str, furniture: Sequence[tuple[str, tuple[int, int, int, int]]], draws: Draws
) -> Glyph:
    side = _between(*(rules.tiny if size == "tiny" else rules.large), draws) * rules.side_px
    place = (0.0, 0.0, 1.0, 1.0)
    if draws.fraction() < rules.at_home:
        x0, y0, x1, y1 = next(edges for kind, edges in furniture if kind == BELONGS[shape])
        place = (x0 / rules.side_px, y0 / rules.side_px, x1 / rules.side_px, y1 / rules.side_px)
    return _glyph(shape, _one(GLYPH_COLORS, draws), side, place, rules, draws)


def _glyph(
    shape: str, color: str, side: float, place: tuple[float, float, float, float], rules: RoomRules, draws: Draws
) -> Glyph:
    margin = side / 2 + 1
    x, y = (
        _between(low * rules.side_px + margin, high * rules.side_px - margin, draws)
        for low, high in ((place[0], place[2]), (place[1], place[3]))
    )
    return Glyph(shape=shape, color=color, x_px=x, y_px=y, side_px=side)


def _between(low: float, high: float, draws: Draws) -> float:
    return low + draws.fraction() * (high - low)


def _one(names: Sequence[str], draws: Draws) -> str:
    return names[draws.integer(0, len(names) - 1)]


def _apart(one: Glyph, other: Glyph) -> bool:
    reach = (one.side_px + other.side_px) / 2 + _GAP_PX
    return max(abs(one.x_px - other.x_px), abs(one.y_px - other.y_px)) >= reach


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@lru_cache(maxsize=16)
def _pattern(kind: str, side: int) -> NDArray[np.uint8]:
    """Return the cloth of a class of furniture, as large as a picture."""
    first, second, way = FURNITURE[kind]
    y, x = np.mgrid[:side, :side] // _BAND_PX
    other = {"rows": y, "columns": x, "checks": y + x, "plain": np.zeros_like(y)}[way] % 2
    return np.where(other[..., None] == 1, np.array(second), np.array(first)).astype(np.uint8)


def _window(glyph: Glyph) -> tuple[NDArray[np.bool_], slice, slice]:
    """Return which pixels of the square around a glyph are its own, and where the square lies."""
    half = glyph.side_px / 2
    rows, columns = (slice(max(0, math.floor(c - half)), math.ceil(c + half)) for c in (glyph.y_px, glyph.x_px))
    y = (np.arange(rows.start, rows.stop) + 0.5 - glyph.y_px)[:, None] / half
    x = (np.arange(columns.start, columns.stop) + 0.5 - glyph.x_px)[None, :] / half
    return INSIDE[glyph.shape](*np.broadcast_arrays(x, y)), rows, columns
