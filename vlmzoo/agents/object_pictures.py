"""What an agent shows of an object that it has found."""

import numpy as np
from PIL import Image

from vlmzoo.data.focus import FocusObject, crop_of
from vlmzoo.geometry import Box, Mask

__all__ = ["CROP_SCALE", "dimmed_crop", "undimmed_crop"]

CROP_SCALE = 1.2
"""Sides of a crop, in those of the object's box."""
_DIMMED = 0.35


def undimmed_crop(picture: Image.Image, name: str, box: Box) -> Image.Image:
    """Return the pixels around an object, as evidence shows them."""
    return crop_of(picture, FocusObject(name, box), scale=CROP_SCALE)


def dimmed_crop(picture: Image.Image, name: str, box: Box, mask: Mask) -> Image.Image:
    """Return the pixels around an object, darker where it is not the object."""
    pixels = np.asarray(picture, dtype=np.float32)
    shade = np.where(mask.array[..., None], 1.0, _DIMMED)
    return undimmed_crop(Image.fromarray((pixels * shade).astype(np.uint8)), name, box)
