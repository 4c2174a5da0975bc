"""Scenes as pictures, and each object's pixels: both come from the same test of a pixel's centre, so masks are exact.

Letters: (H, W) pixels.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.synthetic._scene import Scene, SceneObject
from vlmzoo.data.synthetic._scene_rules import COLORS
from vlmzoo.geometry import Mask

__all__ = ["INSIDE", "draw_scene", "object_mask"]

_Plane = NDArray[np.float64]
_GROUND, _NOISE = 200, 32  # the background's grey levels: from the first, as many as the second
_ROOT3 = math.sqrt(3)


def _star(x: _Plane, y: _Plane) -> NDArray[np.bool_]:
    angle = np.mod(np.arctan2(x, -y), 2 * math.pi / 5) - math.pi / 5
    inner = 0.45
    tip, notch = math.pi / 5, inner * np.array([math.cos(0.0), math.sin(0.0)])
    edge_x, edge_y = math.cos(tip) - notch[0], math.sin(tip) - notch[1]
    radius = np.hypot(x, y)
    across, along = radius * np.cos(np.abs(angle)), radius * np.sin(np.abs(angle))
    return (across - notch[0]) * edge_y - (along - notch[1]) * edge_x <= 0


INSIDE: Mapping[str, Callable[[_Plane, _Plane], NDArray[np.bool_]]] = {
    "circle": lambda x, y: x * x + y * y <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.9,
    "triangle": lambda x, y: (y <= 0.9) & (2 * abs(x) <= y + 1),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) <= 0.35) & (np.maximum(abs(x), abs(y)) <= 1),
    "diamond": lambda x, y: abs(x) + abs(y) <= 1,
    "ring": lambda x, y: (x * x + y * y <= 1) & (x * x + y * y >= 0.36),
    "star": _star,
    "hexagon": lambda x, y: np.maximum(abs(y) / _ROOT3 * 2, abs(x) + abs(y) / _ROOT3) <= 1,
}
"""Whether a point lies within a shape, in a square from -1 to 1; y runs down."""


def object_mask(scene: Scene, number: int) -> Mask:
    """Return the pixels of one object, in the frame of the picture."""
    inside, rows, columns = _window(scene.objects[number])
    array = np.zeros(scene.size_px[::-1], dtype=bool)
    array[rows, columns] = inside
    return Mask(array, frame=scene.frame)


def draw_scene(scene: Scene) -> Image.Image:
    """Draw a scene in RGB: objects in plain colours on grey noise."""
    width, height = scene.size_px
    noise = np.random.PCG64(scene.texture).random_raw(-(-width * height // 8))  # the raw stream is kept for ever
    grey = np.asarray(noise, dtype="<u8").view(np.uint8)[: width * height].reshape(height, width)
    picture = np.repeat((_GROUND + grey % _NOISE)[..., None], 3, axis=2).astype(np.uint8)
    for item in scene.objects:
        inside, rows, columns = _window(item)
        picture[rows, columns][inside] = COLORS[item.color]
    return Image.fromarray(picture)


def _window(item: SceneObject) -> tuple[NDArray[np.bool_], slice, slice]:
    """Return which pixels of the square around an object are its own, and where the square lies."""
    half = item.side_px / 2
    rows, columns = (slice(math.floor(c - half), math.ceil(c + half)) for c in (item.y_px, item.x_px))
    y = (np.arange(rows.start, rows.stop) + 0.5 - item.y_px)[:, None] / half
    x = (np.arange(columns.start, columns.stop) + 0.5 - item.x_px)[None, :] / half
    return INSIDE[item.shape](*np.broadcast_arrays(x, y)), rows, columns
