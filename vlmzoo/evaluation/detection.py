"""From what a model wrote to boxes in pixels, as detection and grounding are measured.

Source: Visual-RFT, arXiv:2503.01785, sections 4.2 and 4.4, and its released evaluation.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from vlmzoo.scoring.box_lists import detections_in

__all__ = ["coco_predictions", "corners_iou", "norm1000_to_xywh_px", "unit_to_pixels"]

Edges = Sequence[float]


def norm1000_to_xywh_px(edges: Edges, *, width: int, height: int) -> list[float]:
    """Return left and upper edge, width and height in pixels, of edges in thousandths of the image's sides."""
    left, right = (edge / 1000 * width for edge in (edges[0], edges[2]))
    upper, lower = (edge / 1000 * height for edge in (edges[1], edges[3]))
    return [left, upper, right - left, lower - upper]


def unit_to_pixels(edges: Edges, *, width: int, height: int) -> list[int]:
    """Return edges in pixels, cut off, of edges in fractions of the image's sides, as SAM is prompted with them."""
    sides = (width, height, width, height)
    return [int(edge * side) for edge, side in zip(edges, sides, strict=True)]


def corners_iou(edges: Edges, truth: Edges) -> float:
    """Return intersection over union as the released evaluation of ReasonSeg counts it, 1e-6 in its denominator.

    A reversed box counts 0; the released code lets its area be negative.
    """
    if any(box[2] <= box[0] or box[3] <= box[1] for box in (edges, truth)):
        return 0.0
    width = max(0.0, min(edges[2], truth[2]) - max(edges[0], truth[0]))
    height = max(0.0, min(edges[3], truth[3]) - max(edges[1], truth[1]))
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (edges, truth)]
    return shared / (areas[0] + areas[1] - shared + 1e-6)


def coco_predictions(
    completion: str, *, image_id: int, category_id: int, width: int, height: int
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the boxes of a completion as COCO's evaluation takes them, and how many were dropped and why.

    Args:
        completion: with boxes in thousandths of the image's sides.
        image_id: of the image.
        category_id: that was asked for.
        width: of the image, in pixels.
        height: likewise.

    Returns:
        ``{image_id, category_id, bbox, score}``, boxes clipped to the image and scores to 0 to 1; and counts of
        ``unreadable`` answers, and of boxes without an area (``empty``).
    """
    dropped: Counter[str] = Counter()
    found = detections_in(completion)
    if found is None:
        dropped["unreadable"] += 1
        return [], dropped
    predictions: list[dict[str, Any]] = []
    for detection in found:
        edges = [min(max(edge, 0.0), 1000.0) for edge in detection.edges]
        box = norm1000_to_xywh_px(edges, width=width, height=height)
        if box[2] <= 0 or box[3] <= 0 or not all(map(math.isfinite, box)):
            dropped["empty"] += 1
            continue
        score = min(max(detection.confidence, 0.0), 1.0)
        predictions.append({"image_id": image_id, "category_id": category_id, "bbox": box, "score": score})
    return predictions, dropped
