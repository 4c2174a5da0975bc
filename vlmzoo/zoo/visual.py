"""From an image's size in pixels to visual tokens, as the processors of transformers count."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from vlmzoo.errors import ConfigError

__all__ = ["ImageSize", "Load", "Visual", "choose_tiles", "count_tiles", "resize_to_budget"]

ImageSize = tuple[int, int]
"""(height, width) in pixels."""

_LARGEST_ASPECT = 200


@dataclass(frozen=True, kw_only=True)
class Visual:
    """What becomes of one image.

    Args:
        tokens: visual tokens in the language model's sequence.
        positions: positions that the encoder works on, class tokens included.
        values: numbers in ``pixel_values``.
    """

    tokens: int
    positions: int
    values: int


def resize_to_budget(
    size: ImageSize, *, factor: int, min_pixels: int, max_pixels: int, at_least_one: bool = False
) -> ImageSize:
    """Return the size to which Qwen-VL's processor brings an image.

    Both sides become multiples of ``factor``, the area falls within the budget, the aspect stays as near as it can.
    Source: Qwen2-VL, arXiv:2409.12191, section 2.1; transformers, ``smart_resize``.

    Args:
        size: of the image.
        factor: side of the square that becomes one visual token, in pixels.
        min_pixels: smallest area.
        max_pixels: largest area.
        at_least_one: whether a side is one square before areas are compared, as qwen-vl-utils has it; else a side that
            rounds to nothing makes the image grow.

    Raises:
        ConfigError: if one side is more than 200 times the other.
    """
    height, width = _checked(size)
    if max(height, width) > _LARGEST_ASPECT * min(height, width):
        raise ConfigError(f"One side of an image must be at most {_LARGEST_ASPECT} times the other, but it is {size}.")
    rounded = round(height / factor) * factor, round(width / factor) * factor
    if at_least_one:
        rounded = max(factor, rounded[0]), max(factor, rounded[1])
    if rounded[0] * rounded[1] > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        return tuple(max(factor, math.floor(side / shrink / factor) * factor) for side in size)  # type: ignore[return-value]
    if rounded[0] * rounded[1] < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        return tuple(math.ceil(side * grow / factor) * factor for side in size)  # type: ignore[return-value]
    return rounded


def count_tiles(size: ImageSize, *, tile: int, min_tiles: int, max_tiles: int) -> int:
    """Return how many square tiles InternVL cuts an image into, without the thumbnail; see `choose_tiles`."""
    columns, rows = choose_tiles(size, tile=tile, min_tiles=min_tiles, max_tiles=max_tiles)
    return columns * rows


def choose_tiles(
    size: ImageSize, *, tile: int, min_tiles: int, max_tiles: int, rule: Literal["aspect", "area"] = "aspect"
) -> tuple[int, int]:
    """Return the (columns, rows) of square tiles that an image is scaled to and cut into.

    - ``aspect``: the grid with the nearest aspect wins; between equals the larger one, if the image covers more than
      half of it. Source: InternVL 1.5, arXiv:2404.16821, section 3.2; transformers, ``get_optimal_tiled_canvas``.
    - ``area``: the grid that keeps most of aspect and area wins: the product of the smaller over the larger aspect and
      of the grid's area over the image's, of which more than 0.6 counts as 0.6. Source: Eagle 2.5, arXiv:2504.15271,
      section 3 (image area preservation).

    Args:
        size: of the image.
        tile: side of a tile, in pixels.
        min_tiles: fewest tiles.
        max_tiles: most tiles.
        rule: which grid is best.
    """
    height, width = _checked(size)
    sides = range(1, max_tiles + 1)
    grids = sorted((g for g in product(sides, sides) if min_tiles <= g[0] * g[1] <= max_tiles), key=math.prod)
    if rule == "area":

        def kept(grid: tuple[int, int]) -> float:
            aspect = grid[0] * height / (grid[1] * width)
            return min(math.prod(grid) * tile**2 / (height * width), 0.6) * min(aspect, 1 / aspect)

        return max(grids, key=kept)  # of equals the first, which has the fewest tiles
    best, distance = grids[0], math.inf
    for columns, rows in grids:
        found = abs(width / height - columns / rows)
        covers_half = height * width > 0.5 * tile * tile * columns * rows
        if found < distance or (found == distance and covers_half):
            best, distance = (columns, rows), found
    return best


def _checked(size: ImageSize) -> ImageSize:
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"`image_size` must be (height, width) in pixels, both positive, but is {size!r} instead.")
    return size


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a batch holds.

    Args:
        sequences: B.
        positions: B T, text and visual tokens.
        targets: text tokens that are predicted.
        patches: positions that the encoder works on.
        visual_tokens: of all images.
        pixels: numbers in ``pixel_values``.
    """

    sequences: int
    positions: int
    targets: int
    patches: int
    visual_tokens: int
    pixels: int

    def pixel_bytes(self, e: int) -> int:
        """Return what ``pixel_values`` take: float32 as the processor gives them, and a narrower copy."""
        return self.pixels * (4 + (e if e < 4 else 0))

    @classmethod
    def of(cls, visuals: Sequence[Visual], batch_size: int, text_tokens: int, target_tokens: int) -> "Load":
        """Add up what every sequence holds: these images and so many tokens of text, of which so many are targets."""
        visual_tokens = sum(visual.tokens for visual in visuals)
        return cls(
            sequences=batch_size,
            positions=batch_size * (text_tokens + visual_tokens),
            targets=batch_size * target_tokens,
            patches=batch_size * sum(visual.positions for visual in visuals),
            visual_tokens=batch_size * visual_tokens,
            pixels=batch_size * sum(visual.values for visual in visuals),
        )
