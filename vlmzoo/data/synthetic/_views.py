"""Instances and their views: a thing that stays what it is, seen under other light, from elsewhere.

Letters: (H, W) pixels.
"""

import colorsys
import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._scene_image import INSIDE

__all__ = ["ATTRIBUTES", "SHAPES", "TEXTURES", "Attribute", "Instance", "changed", "draw_instance", "draw_view"]

Attribute: TypeAlias = Literal["hue", "shape", "texture", "size"]
ATTRIBUTES: tuple[Attribute, ...] = ("hue", "shape", "texture", "size")
SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring")
TEXTURES = ("plain", "rows", "columns", "dots")
_SIZES = (0.30, 0.42)  # half of the side, as a fraction of the canvas
_TILT = math.radians(20)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What makes a thing the one it is.

    Args:
        hue: in turns, from 0 to 1.
        shape: number of ``SHAPES``.
        texture: number of ``TEXTURES``.
        size: half of its side, as a fraction of the canvas.
    """

    hue: float
    shape: int
    texture: int
    size: float


def draw_instance(draws: Draws, varying: tuple[Attribute, ...]) -> Instance:
    """Draw a thing; attributes that do not vary are the same for all."""
    found = Instance(
        hue=draws.fraction(),
        shape=draws.integer(0, len(SHAPES) - 1),
        texture=draws.integer(0, len(TEXTURES) - 1),
        size=_SIZES[0] + (_SIZES[1] - _SIZES[0]) * draws.fraction(),
    )
    plain = {"hue": 0.0, "shape": 0, "texture": 0, "size": sum(_SIZES) / 2}
    return replace(found, **{name: plain[name] for name in ATTRIBUTES if name not in varying})


def changed(thing: Instance, attribute: Attribute, draws: Draws, *, hue_step: tuple[float, float]) -> Instance:
    """Return a thing that differs in one attribute.

    Args:
        thing: that it shall look like.
        attribute: that differs.
        draws: where chance comes from.
        hue_step: how far hues lie apart, in turns, at least and at most.
    """
    if attribute == "hue":
        step = hue_step[0] + (hue_step[1] - hue_step[0]) * draws.fraction()
        return replace(thing, hue=(thing.hue + (step if draws.coin() else -step)) % 1.0)
    if attribute == "size":
        middle, far = sum(_SIZES) / 2, 0.3 * (_SIZES[1] - _SIZES[0])
        return replace(thing, size=thing.size + (far if thing.size < middle else -far) * (1 + draws.fraction()))
    number = len(SHAPES if attribute == "shape" else TEXTURES)
    return replace(thing, **{attribute: (getattr(thing, attribute) + draws.integer(1, number - 1)) % number})


def draw_view(thing: Instance, draws: Draws, *, canvas_px: int) -> Image.Image:
    """Draw one view in RGB: moved, tilted, larger or smaller, under other light, on another ground, with noise."""
    half = thing.size * canvas_px * (0.85 + 0.3 * draws.fraction())
    room = max(canvas_px / 2 - half, 0.0)
    centre_x, centre_y = (canvas_px / 2 + room * (2 * draws.fraction() - 1) for _ in range(2))
    tilt = _TILT * (2 * draws.fraction() - 1)
    place = np.arange(canvas_px) + 0.5
    across, down = np.meshgrid((place - centre_x) / half, (place - centre_y) / half)
    x, y = across * math.cos(tilt) + down * math.sin(tilt), down * math.cos(tilt) - across * math.sin(tilt)
    light = 0.75 + 0.25 * draws.fraction()
    colour = np.array(colorsys.hsv_to_rgb(thing.hue, 0.85, light)) * 255
    ground, slope = 90 + 110 * draws.fraction(), 40 * (2 * draws.fraction() - 1)
    picture = np.repeat((ground + slope * (place / canvas_px - 0.5))[:, None, None], canvas_px, axis=1)
    picture = np.repeat(picture, 3, axis=2)
    picture[INSIDE[SHAPES[thing.shape]](x, y)] = colour
    marked = INSIDE[SHAPES[thing.shape]](x, y) & _marks(x, y, thing.texture)
    picture[marked] = 0.35 * colour
    noise = np.random.PCG64(draws.integer(0, 2**31)).random_raw(canvas_px * canvas_px // 8 + 1)
    grain = np.asarray(noise, dtype="<u8").view(np.uint8)[: canvas_px * canvas_px].reshape(canvas_px, canvas_px, 1)
    return Image.fromarray(np.clip(picture + grain % 24 - 12.0, 0, 255).astype(np.uint8))


def _marks(x: NDArray[np.float64], y: NDArray[np.float64], texture: int) -> NDArray[np.bool_]:
    """Return where the dark marks of a texture lie, in a square from -1 to 1."""
    rows, columns = (np.mod(axis * 2, 1) < 0.4 for axis in (y, x))
    return (np.zeros_like(rows), rows, columns, rows & columns)[texture]
