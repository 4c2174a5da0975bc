"""Masks drawn over their picture: the truth, and beside it what was predicted."""

import numpy as np
from PIL import Image

from vlmzoo.errors import ShapeError
from vlmzoo.geometry import Mask

__all__ = ["beside", "overlaid"]

TRUTH, PREDICTED = (22, 163, 74), (37, 99, 235)  # green, blue
_OPACITY = 0.5
_LEAST_SIDE_PX = 192  # smaller pictures are enlarged, so that people see something
_GAP_PX = 4


def overlaid(picture: Image.Image, mask: Mask, *, color: tuple[int, int, int] = PREDICTED) -> Image.Image:
    """Return the picture, grey, with the pixels of a mask tinted.

    Args:
        picture: the whole image.
        mask: in the image's own frame.
        color: of the tint, RGB.

    Raises:
        ShapeError: if the mask has not the picture's size.
    """
    if mask.array.shape != (picture.height, picture.width):
        raise ShapeError(
            f"A mask must have the picture's height and width, {(picture.height, picture.width)}, to be drawn over it, "
            f"but has {mask.array.shape} instead; convert it with `.to(frame)`."
        )
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float64)
    tinted = grey + _OPACITY * mask.array[..., None] * (np.array(color) - grey)
    return Image.fromarray(tinted.round().astype(np.uint8))


def beside(picture: Image.Image, *, truth: Mask, predicted: Mask) -> Image.Image:
    """Return three panels: the picture, the truth in green, the prediction in blue.

    Raises:
        ShapeError: if a mask has not the picture's size.
    """
    panels = [picture.convert("RGB"), overlaid(picture, truth, color=TRUTH), overlaid(picture, predicted)]
    factor = max(1, -(-_LEAST_SIDE_PX // max(picture.size)))
    width, height = picture.width * factor, picture.height * factor
    strip = Image.new("RGB", (3 * width + 2 * _GAP_PX, height), "white")
    for number, panel in enumerate(panels):
        strip.paste(panel.resize((width, height), Image.Resampling.NEAREST), (number * (width + _GAP_PX), 0))
    return strip
