"""Objects as SEAL's model is shown them: a crop around each, and its place in words.

Source: V*, arXiv:2312.14135, section 3; penghao-wu/vstar@4ede664, by its rules.
"""

import math

from vlmzoo.geometry import Box, Frame

__all__ = ["location_text", "object_crop"]

_LEAST_SIDE_PX = 224


def object_crop(box: Box, *, scale: float | None = None, least_side_px: int = _LEAST_SIDE_PX) -> Box:
    """Return the pixels to crop around an object.

    The crop is centred on the object and cut at the borders of the image, without being moved back inside.

    Args:
        box: of the object, in a frame of pixels.
        scale: sides of the crop as multiples of the object's; None makes them at least ``least_side_px``.
        least_side_px: for ``scale=None``.

    Returns:
        A box with whole edges, in the frame of ``box``.
    """
    width, height = (_side(length, scale=scale, least=least_side_px) for length in (box.width, box.height))
    left, right = _cut(box.x0, box.width, side=width, limit=box.frame.width)
    top, bottom = _cut(box.y0, box.height, side=height, limit=box.frame.height)
    return Box.from_xyxy((left, top, right, bottom), frame=box.frame)


def location_text(box: Box) -> str:
    """Return where an object is, as fractions of the centre-padded square: ``[0.052,0.229,0.217,0.323]``.

    Args:
        box: in any frame of the image.
    """
    original = box.to(Frame.original(box.frame.image, width=box.frame.x.original, height=box.frame.y.original))
    square = original.frame.padded_to_square(align="center")
    shown = original.to(square).to(square.unit)
    return "[" + ",".join(f"{min(max(edge, 0.0), 1.0):.3f}" for edge in shown.xyxy) + "]"


def _side(length: float, *, scale: float | None, least: int) -> int:
    return max(math.ceil(length), least) if scale is None else int(math.ceil(length) * scale)


def _cut(start: float, length: float, *, side: int, limit: int) -> tuple[int, int]:
    begin = max(0, int(start + length / 2) - side // 2)
    return begin, min(begin + side, limit)
