"""How much boxes and masks overlap.

Letters: N boxes on one side, M on the other.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlmzoo.geometry.boxes import Box
from vlmzoo.geometry.frames import require_same_frame
from vlmzoo.geometry.masks import Mask

__all__ = ["giou", "iou", "iou_matrix", "mask_iou"]


def iou(box: Box, other: Box) -> float:
    """Return intersection over union, within [0, 1]; 0 where neither box has an area.

    Raises:
        FrameError: if the boxes stand in different frames.
    """
    return float(iou_matrix([box], [other])[0, 0])


def giou(box: Box, other: Box) -> float:
    """Return generalised intersection over union, within [-1, IoU]; -1 where neither box has an area.

    Source: Rezatofighi et al., arXiv:1902.09630, algorithm 1.

    Raises:
        FrameError: if the boxes stand in different frames.
    """
    intersection, union, enclosing = (float(areas[0, 0]) for areas in _areas([box], [other]))
    if union <= 0:
        return -1.0
    return intersection / union - max(enclosing - union, 0.0) / enclosing


def iou_matrix(boxes: Sequence[Box], others: Sequence[Box]) -> NDArray[np.float64]:
    """Return the IoU of each box with each other one: ``(N, M)``, as ``iou`` gives it.

    Raises:
        FrameError: if not all boxes stand in one frame.
    """
    intersection, union, _ = _areas(boxes, others)
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def mask_iou(mask: Mask, other: Mask) -> float:
    """Return intersection over union in pixels, within [0, 1]; 1 where both masks are empty.

    Empty masks agree, as in the gIoU of gRefCOCO (arXiv:2306.00968); for the cumulative cIoU sum ``(a & b).area`` and
    ``(a | b).area`` over the images.

    Raises:
        FrameError: if the masks stand in different frames.
    """
    union = (mask | other).area
    return (mask & other).area / union if union else 1.0


def _areas(
    boxes: Sequence[Box], others: Sequence[Box]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas of intersection, union and smallest enclosing box, each ``(N, M)``."""
    _require_one_frame([*boxes, *others])
    a, b = _edges(boxes)[:, None], _edges(others)[None]
    intersection = _area(np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]))
    enclosing = _area(np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - intersection
    return intersection, union, enclosing


def _require_one_frame(boxes: Sequence[Box]) -> None:
    for box in boxes[1:]:
        require_same_frame(box.frame, boxes[0].frame, what="Each box of a comparison")


def _edges(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return the edges x0, y0, x1, y1 as ``(N, 4)``."""
    return np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4)


def _area(upper_left: NDArray[np.float64], lower_right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas between corners ``(..., 2)``; 0 where they are reversed."""
    sides = np.maximum(lower_right - upper_left, 0.0)
    return sides[..., 0] * sides[..., 1]
