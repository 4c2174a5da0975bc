"""Whether boxes that a model writes stand in another frame than those they are compared with."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vlmzoo.scoring.box_lists import detections_in, iou_of
from vlmzoo.scoring.grounding import first_corners

__all__ = ["boxes_miss"]

_MOSTLY, _FITS = 0.5, 0.3

Edges = tuple[float, float, float, float]
Scale = tuple[float, float]


def boxes_miss(lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Say so where most completions hold boxes, and none of them touches the right one.

    Args:
        lines: of the flight recorder.

    Returns:
        The figures, and the frame in which the boxes would fit, if there is one; None where boxes do touch, or there
        are none.
    """
    asked = [(_first_box(line["completion"]), truth, line) for line in lines if (truth := _first_box(line["answer"]))]
    written = [(box, truth, line) for box, truth, line in asked if box is not None]
    if not asked or len(written) / len(asked) < _MOSTLY or any(iou_of(box, truth) > 0 for box, truth, _ in written):
        return None
    said = f"{len(written) / len(asked):.0%} of the completions hold boxes, none of which touches the right one"
    for name, scale_of in _SCALES.items():
        found = [iou_of(_scaled(box, scale_of(_size(line))), truth) for box, truth, line in written if _size(line)]
        if found and math.fsum(found) / len(found) >= _FITS:
            frames = [line["frame"]["coordinates"] for _, _, line in written if "frame" in line]
            frame = f", where the data are {frames[0]}" if frames else ""
            return f"{said}; taken as {name}{frame}, they would have a mean IoU of {math.fsum(found) / len(found):.2f}."
    return f"{said}; they fit in no frame that is known."


_SCALES: Mapping[str, Callable[[Scale], Scale]] = {
    "pixels": lambda size: (1000 / size[0], 1000 / size[1]),
    "thousandths for pixels": lambda size: (size[0] / 1000, size[1] / 1000),
    "fractions for thousandths": lambda size: (1000.0, 1000.0),
    "thousandths for fractions": lambda size: (1e-3, 1e-3),
    "fractions for pixels": lambda size: size,
    "pixels for fractions": lambda size: (1 / size[0], 1 / size[1]),
}


def _size(line: Mapping[str, Any]) -> Scale:
    width, height = (line.get("frame") or {}).get("image_px") or (1000, 1000)
    return float(width), float(height)


def _scaled(box: Edges, scale: Scale) -> Edges:
    return box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]


def _first_box(text: str) -> Edges | None:
    found = detections_in(text, needs_confidence=False)
    if found:
        return found[0].edges
    corners = first_corners(text)
    return None if corners is None else (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3]))
