"""Polygons to masks, and masks to polygons.

A ring is an array ``(V, 2)`` of corners x, y in pixels of a frame; its last corner is joined to its first.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmzoo.errors import DataError
from vlmzoo.geometry._checks import MAX_POSITION
from vlmzoo.geometry.frames import Frame
from vlmzoo.geometry.masks import Mask

__all__ = ["mask_to_polygons", "polygons_to_mask"]


def polygons_to_mask(
    rings: Iterable[ArrayLike], *, frame: Frame, rule: Literal["even_odd", "nonzero"] = "even_odd"
) -> Mask:
    """Return the pixels whose centres lie inside the rings.

    A centre on a left or upper edge is inside, one on a right or lower edge is not, so rings that share an edge share
    no pixel. All rings count together; the union of parts that may overlap is the ``|`` of a mask for each. COCO's own
    tools round slanted edges differently, by a pixel along the border.

    Args:
        rings: any number of rings of V corners each; they may leave the frame. A flat list of COCO is a ring after
            ``numpy.reshape(numbers, (-1, 2))``.
        frame: whose pixels are meant.
        rule: a centre is inside where rings wind around it an odd number of times (``even_odd``: a ring within a ring
            is a hole), or where their turns do not cancel (``nonzero``: a hole must run the other way round).

    Raises:
        DataError: if a ring has fewer than three corners, or one that is not finite, or ``rule`` is neither.
        FrameError: if the frame has no pixels.
    """
    if rule not in ("even_odd", "nonzero"):
        raise DataError(f"`rule` must be `even_odd` or `nonzero`, but is {rule!r} instead.")
    crossings = np.zeros((frame.height, frame.width + 1), dtype=np.int64)
    for number, ring in enumerate(rings):
        _add_crossings(crossings, ring=_checked_ring(ring, number=number))
    winding = np.cumsum(crossings[:, :-1], axis=1)
    return Mask(winding % 2 != 0 if rule == "even_odd" else winding != 0, frame=frame)


def mask_to_polygons(mask: Mask) -> list[NDArray[np.float64]]:
    """Return the borders of a mask along the edges of its pixels, with corners only where they turn.

    Outer borders run clockwise as seen on the screen, borders of holes the other way, so ``polygons_to_mask`` gives the
    mask back exactly under both rules. Pixels that touch at a corner only are not joined there.

    Returns:
        Rings ``(V, 2)``, in reading order of their first corners; none for an empty mask.
    """
    stride = mask.frame.width + 1  # corners in a row
    exits = _border_edges(mask.array)
    starts = np.flatnonzero(np.frombuffer(exits, dtype=np.uint8)[::4])  # each ring runs to the right somewhere
    rings: list[NDArray[np.float64]] = []
    for corner in starts.tolist():
        if exits[4 * corner]:
            corners = np.array(_walk(exits, start=corner, stride=stride))
            rings.append(np.stack([corners % stride, corners // stride], axis=1).astype(np.float64))
    return rings


def _checked_ring(ring: ArrayLike, *, number: int) -> NDArray[np.float64]:
    try:
        corners = np.asarray(ring, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Ring {number} must be a list of corners x, y, but is {ring!r:.80} instead.") from error
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise DataError(
            f"Ring {number} must have the shape (corners, 2) with at least 3 corners, but has {corners.shape} instead; "
            "a flat list x, y, x, y, … is a ring after `numpy.reshape(numbers, (-1, 2))`."
        )
    if not (np.abs(corners) <= MAX_POSITION).all():
        raise DataError(f"Ring {number} must be finite, but has a corner that is not; leave it out or mend the file.")
    return corners


def _add_crossings(crossings: NDArray[np.int64], *, ring: NDArray[np.float64]) -> None:
    """Count, for each row, the edges that cross its middle, at the first pixel whose centre lies right of them.

    Args:
        crossings: ``(H, W + 1)``, changed in place: +1 for an edge that runs down, -1 for one that runs up.
        ring: ``(V, 2)``.
    """
    height, width = crossings.shape[0], crossings.shape[1] - 1
    ends = np.stack([ring, np.roll(ring, -1, axis=0)])  # (2, V, 2)
    runs_down = ends[0, :, 1] < ends[1, :, 1]
    upper, lower = np.where(runs_down[:, None], ends, ends[::-1])  # so that shared edges cross at the same place
    first, last = (_first_centre(end[:, 1], size=height) for end in (upper, lower))
    num_rows = last - first
    edge = np.repeat(np.arange(len(ring)), num_rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(num_rows) - num_rows - first, num_rows)
    (x, y), (run, rise) = upper[edge].T, (lower - upper)[edge].T
    crossing = x + (row + 0.5 - y) * run / rise
    column = _first_centre(crossing, size=width)
    np.add.at(crossings, (row, column), np.where(runs_down, 1, -1)[edge])


def _first_centre(position: NDArray[np.float64], *, size: int) -> NDArray[np.intp]:
    """Return the first pixel whose centre is not before each position; ``size`` where there is none."""
    return np.clip(np.ceil(position - 0.5), 0, size).astype(np.intp)


def _border_edges(array: NDArray[np.bool_]) -> bytearray:
    """Mark the edges between set and unset pixels, each directed so that the set pixel is at its right hand.

    Returns:
        Flags for ``(H + 1, W + 1, 4)``: whether an edge leaves a corner to the right, down, to the left and up.
    """
    height, width = array.shape
    inside = np.pad(array, 1)
    here, above, left = inside[1:-1, 1:-1], inside[:-2, 1:-1], inside[1:-1, :-2]
    below, right = inside[2:, 1:-1], inside[1:-1, 2:]
    exits = np.zeros((height + 1, width + 1, 4), dtype=np.uint8)
    exits[:-1, :-1, 0] = here & ~above
    exits[:-1, 1:, 1] = here & ~right
    exits[1:, 1:, 2] = here & ~below
    exits[1:, :-1, 3] = here & ~left
    return bytearray(exits.tobytes())


def _walk(exits: bytearray, *, start: int, stride: int) -> list[int]:
    """Follow one ring until it leaves its first corner again, and unmark its edges.

    Right turns come first, which parts pixels that touch at a corner only.

    Args:
        exits: as ``_border_edges`` marks them.
        start: number of the corner to leave to the right.
        stride: number of corners in a row.

    Returns:
        The corners where the ring turns, by number.
    """
    steps = (1, stride, -1, -stride)
    corner, direction = start, 0
    corners = [start]
    while True:
        corner += steps[direction]
        turn = next(turn for turn in (1, 0, 3) if exits[4 * corner + (direction + turn) % 4])  # right, straight, left
        direction = (direction + turn) % 4
        exits[4 * corner + direction] = 0
        if not exits[4 * start]:
            return corners
        if turn:
            corners.append(corner)
