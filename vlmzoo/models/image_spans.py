"""Where the visual tokens of each image stand, on any base.

Letters: B sequences, T text positions, N visual tokens of an image.
"""

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from vlmzoo.data.mia.attention import ImageSpan
from vlmzoo.errors import ShapeError

__all__ = ["image_spans"]


def image_spans(model: Any, input_ids: Tensor, *, image_grid_thw: Tensor | None = None) -> list[list[ImageSpan]]:
    """Return the spans of the images of each row, in order.

    Args:
        model: composed or native.
        input_ids: ``(B, T)``, placeholders expanded by the processor.
        image_grid_thw: ``(images, 3)``, patches in time, height and width, as Qwen2-VL's processors give them.

    Raises:
        ShapeError: if the placeholders are not as many as the images have tokens.
    """
    token = model.config.image_token_id
    if image_grid_thw is not None:
        merge = model.config.vision_config.spatial_merge_size
        grids = iter([(height // merge, width // merge) for _, height, width in image_grid_thw.tolist()])
    else:
        grids = None
    found: list[list[ImageSpan]] = []
    for row in (input_ids == token).tolist():
        spans: list[ImageSpan] = []
        for start, length in _runs(row):
            spans += _divided(model, start, length, grids)
        found.append(spans)
    left = sum(1 for _ in grids) if grids is not None else 0
    if left:
        raise ShapeError(
            f"`image_grid_thw` must have a row for each image of `input_ids`, but has {left} more instead; give both "
            "as the processor made them."
        )
    return found


def _runs(is_image: list[bool]) -> Iterator[tuple[int, int]]:
    """Yield start and length of each stretch of placeholders."""
    start = None
    for place, here in enumerate([*is_image, False]):
        if here and start is None:
            start = place
        elif not here and start is not None:
            yield start, place - start
            start = None


def _divided(model: Any, start: int, length: int, grids: Iterator[tuple[int, int]] | None) -> list[ImageSpan]:
    """Cut a stretch of placeholders into images."""
    spans: list[ImageSpan] = []
    end = start + length
    while start < end:
        grid = next(grids, None) if grids is not None else _grid_of(model, length)
        if grid is None or start + grid[0] * grid[1] > end:
            raise ShapeError(
                f"The {length} image placeholders up to position {end} must be whole images, but an image of "
                f"{grid} tokens does not fit; give the `input_ids` and `image_grid_thw` that the processor made."
            )
        spans.append(ImageSpan(start=start, grid_height=grid[0], grid_width=grid[1]))
        start += spans[-1].length
    return spans


def _grid_of(model: Any, length: int) -> tuple[int, int]:
    """Return rows and columns of an image's tokens; a single row where they are no grid."""
    tokens = getattr(model, "num_image_tokens", length)
    encoder = getattr(model, "encoder", None)
    height, width = getattr(encoder, "grid_size", (0, 0))
    if height * width == tokens:
        return height, width
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens else (1, tokens)
