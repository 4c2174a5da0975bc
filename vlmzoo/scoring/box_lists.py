"""Lists of boxes with confidences, as Visual-RFT's models write them, and their greedy match with the truth.

Source: Visual-RFT, arXiv:2503.01785, section 3.2. Numbers are in whatever unit both sides share.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from vlmzoo.scoring._answers import Compat, answer_of, first_answer_of
from vlmzoo.scoring._literals import is_finite_number, read_value

__all__ = ["Detection", "detections_in", "greedy_match", "iou_of", "says_no_objects"]

_LARGEST = 1e6
_MIN_IOU = 0.5

Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """One box.

    Args:
        edges: left, upper, right and lower edge as they were written; they may be reversed.
        confidence: as it was written; 1 where none was asked for.
    """

    edges: Edges
    confidence: float = 1.0


def detections_in(text: str, *, needs_confidence: bool = True, compat: Compat | None = None) -> list[Detection] | None:
    """Read the boxes of a completion or of a solution.

    Args:
        text: the whole of it.
        needs_confidence: whether a box without one makes the answer invalid.
        compat: rules of published code.

    Returns:
        The boxes in order, later ones with the same edges left out; None where the answer is no valid list.
    """
    answer = answer_of(text) if compat is None else first_answer_of(text)
    if not answer:
        return None
    is_published = compat is not None
    value = _value(answer, is_published)
    is_cut = not answer.endswith("]") if is_published else "<answer>" not in text
    if value is None and is_cut:  # by the limit of a completion: the last element is not whole
        head, comma, _ = answer.rpartition("},")
        value = _value(f"{head}}}]" if comma else "", is_published)
    return _detections(value, needs_confidence=needs_confidence)


def _value(text: str, is_published: bool) -> Any:
    """Read a list; published code writes every apostrophe as a quotation mark, and reads JSON."""
    return read_value(text.replace("'", '"'), json_only=True) if is_published else read_value(text)


def _detections(value: Any, *, needs_confidence: bool) -> list[Detection] | None:
    items = _unwrapped(value)
    if items is None:
        return None
    found: dict[Edges, Detection] = {}
    for item in items:
        if not isinstance(item, dict):
            return None
        fields = cast("dict[Any, Any]", item)
        edges = _edges(fields.get("Position"))
        confidence = fields.get("Confidence", None if needs_confidence else 1.0)
        if edges is None or not is_finite_number(confidence):
            return None
        found.setdefault(edges, Detection(edges, confidence))
    return list(found.values())


def _unwrapped(value: Any) -> list[Any] | None:
    """Return a list, taken out of a list that holds nothing else."""
    if not isinstance(value, list):
        return None
    items = cast("list[Any]", value)
    return cast("list[Any]", items[0]) if len(items) == 1 and isinstance(items[0], list) else items


def _edges(value: Any) -> Edges | None:
    if not isinstance(value, (list, tuple)):
        return None
    numbers = cast("Sequence[Any]", value)
    if len(numbers) == 1 and isinstance(numbers[0], (list, tuple)):
        numbers = cast("Sequence[Any]", numbers[0])
    if len(numbers) != 4 or not all(is_finite_number(number, limit=_LARGEST) for number in numbers):
        return None
    left, upper, right, lower = (float(number) for number in numbers)
    return left, upper, right, lower


def says_no_objects(text: str) -> bool:
    """Say whether an answer is that there is nothing, whatever its case and the punctuation around it."""
    answer = answer_of(text)
    if answer is None:
        return False
    return answer.strip(string.punctuation + string.whitespace).lower() == "no objects"


def iou_of(edges: Edges, other: Edges) -> float:
    """Return intersection over union; 0 where they do not overlap, or one is reversed.

    Boxes of the library know their frame and are never reversed; what a model wrote may be, and counts for nothing.
    """
    width = min(edges[2], other[2]) - max(edges[0], other[0])
    height = min(edges[3], other[3]) - max(edges[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(edges) + _area(other) - shared)


def _area(edges: Edges) -> float:
    return (edges[2] - edges[0]) * (edges[3] - edges[1])


def greedy_match(found: Sequence[Detection], truth: Sequence[Detection]) -> list[tuple[Detection, float]]:
    """Match boxes with the truth, the most confident first; each true box is matched once.

    Returns:
        Each found box with its IoU, in order of confidence; 0 where no free true box overlaps it by more than half.
    """
    free = list(truth)
    matched: list[tuple[Detection, float]] = []
    for detection in sorted(found, key=lambda one: -one.confidence):
        overlaps = [iou_of(detection.edges, other.edges) for other in free]
        best = max(overlaps, default=0.0)
        if best > _MIN_IOU:
            del free[overlaps.index(best)]
        matched.append((detection, best if best > _MIN_IOU else 0.0))
    return matched
