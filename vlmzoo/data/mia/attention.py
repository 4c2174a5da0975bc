"""How much of a model's look at its images went to the one that was asked about.

Source: MIA-DPO, arXiv:2410.17637, section 3.2, and its released selection scripts.
Letters: T decoding steps after the prompt's own pass, H heads, L tokens of the prompt, (R, C) rows and columns of an
image's grid of visual tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmzoo.errors import ShapeError
from vlmzoo.geometry import Box, Frame

__all__ = ["ImageSpan", "attention_maps", "region_share", "region_weights", "sequence_share", "tile_weights"]

_REFERENCE_MARGIN = 4 / 24  # the authors take rows and columns 4 to 19 of 24, wherever the inner picture is


@dataclass(frozen=True, kw_only=True)
class ImageSpan:
    """Where the visual tokens of one image stand in a sequence, row by row over its grid.

    Args:
        start: position of the first.
        grid_height: R.
        grid_width: C.
    """

    start: int
    grid_height: int
    grid_width: int

    @property
    def length(self) -> int:
        """How many visual tokens it has."""
        return self.grid_height * self.grid_width


def attention_maps(step_attention: Tensor, spans: Sequence[ImageSpan]) -> list[Tensor]:
    """Average the attention over heads and decoding steps, and cut out the images.

    Args:
        step_attention: ``(T, H, L + T)``: row t is what generated token t looked at, at one layer; what comes after
            its own position is 0. ``(T, L + T)`` if heads were averaged already.
        spans: of the images.

    Returns:
        A map ``(R, C)`` in float32 for each image.

    Raises:
        ShapeError: if there is no step, or a span reaches beyond the sequence.
    """
    if step_attention.shape[0] == 0:
        raise ShapeError(
            "`step_attention` must hold at least one step, but has none; an answer of one token has only the last row "
            "of the prompt's own pass to go by: capture it with `include_prompt=True`."
        )
    mean = step_attention.float()
    if mean.ndim == 3:
        mean = mean.mean(dim=1)
    mean = mean.mean(dim=0)
    maps: list[Tensor] = []
    for number, span in enumerate(spans, start=1):
        end = span.start + span.length
        if span.start < 0 or end > mean.shape[0]:
            raise ShapeError(
                f"Image {number} must lie within the {mean.shape[0]} attended positions, but spans {span.start} to "
                f"{end} instead; give the spans after image placeholders were expanded."
            )
        maps.append(mean[span.start : end].reshape(span.grid_height, span.grid_width))
    return maps


def sequence_share(maps: Sequence[Tensor], target: int) -> float:
    """Return the asked image's share of a sequence: its mean per token among the sum of all images' means.

    Args:
        maps: ``(R, C)`` each, of any size.
        target: the asked image, from 1.
    """
    means = torch.stack([single.mean() for single in maps])
    return float(means[target - 1] / means.sum())


def region_share(single: Tensor, weights: Tensor) -> float:
    """Return a region's share of the attention on one picture.

    Args:
        single: ``(R, C)``.
        weights: ``(R, C)``, the part of each token's area that belongs to the region.
    """
    return float((single * weights.to(single)).sum() / single.sum())


def tile_weights(*, index: int, num_rows: int, num_columns: int, grid_height: int, grid_width: int) -> Tensor:
    """Return the block of tokens behind a tile of a collage, ``(R, C)`` of zeros and ones.

    Rows and columns of tokens are split into parts whose sizes differ by at most one, the larger ones first.

    Args:
        index: of the tile, from 0, row by row.
        num_rows: of tiles.
        num_columns: of tiles.
        grid_height: R.
        grid_width: C.
    """
    row, column = divmod(index, num_columns)
    top, bottom = _part(row, num_rows, grid_height)
    left, right = _part(column, num_columns, grid_width)
    weights = torch.zeros(grid_height, grid_width)
    weights[top:bottom, left:right] = 1.0
    return weights


def region_weights(box: Box | None, *, seen: Frame | None = None, grid_height: int, grid_width: int) -> Tensor:
    """Return which part of each token's area a box covers, ``(R, C)`` in [0, 1].

    Args:
        box: of the inner picture, in any frame of the image; None takes the authors' fixed middle (rows and columns 4
            to 19 of 24), which forgets that a picture that is not square is padded before it is seen.
        seen: the frame that the grid divides, e.g. ``original.padded_to_square(align="center")``; None is the box's.
        grid_height: R.
        grid_width: C.
    """
    if box is None:
        edges = [
            (round(_REFERENCE_MARGIN * side), side - round(_REFERENCE_MARGIN * side))
            for side in (grid_height, grid_width)
        ]
        (top, bottom), (left, right) = edges
    else:
        shown = box if seen is None else box.to(seen)
        unit = shown.to(shown.frame.unit)
        top, bottom = unit.y0 * grid_height, unit.y1 * grid_height
        left, right = unit.x0 * grid_width, unit.x1 * grid_width
    return torch.outer(_cover(top, bottom, grid_height), _cover(left, right, grid_width))


def _cover(low: float, high: float, num: int) -> Tensor:
    """Return how much of each of ``num`` unit intervals lies between two positions, ``(num,)``."""
    starts = torch.arange(num, dtype=torch.float64)
    return (torch.clamp(starts + 1, max=high) - torch.clamp(starts, min=low)).clamp(min=0.0).float()


def _part(index: int, num_parts: int, length: int) -> tuple[int, int]:
    """Return where one of several nearly equal parts begins and ends."""
    small, num_larger = divmod(length, num_parts)
    begin = index * small + min(index, num_larger)
    return begin, begin + small + (index < num_larger)
