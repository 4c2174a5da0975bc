"""Drawing masks over a picture.

Letters: (H, W) pixels.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from vlmzoo.errors import FrameError
from vlmzoo.geometry import Mask

__all__ = ["draw_masks"]

_GOLDEN = 0.618033988749895  # steps of the hue by this share of the circle never come near one another


def draw_masks(image: Image.Image, masks: Sequence[Mask], *, opacity: float = 0.5) -> Image.Image:
    """Colour the pixels of masks, each mask in a colour of its own with a solid border.

    Args:
        image: RGB.
        masks: in the original frame of the image; later ones lie above.
        opacity: of the colour inside the border, 0 to 1.

    Raises:
        FrameError: if a mask has not the image's size.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64).copy()
    for number, mask in enumerate(masks):
        if mask.array.shape != pixels.shape[:2]:
            raise FrameError(
                f"A mask over an image of {image.width}×{image.height} pixels must have its size, but stands in "
                f"{mask.frame} instead; take it to the image's original frame first."
            )
        colour = 255.0 * np.array(colorsys.hsv_to_rgb(number * _GOLDEN % 1.0, 0.9, 1.0))
        inside = mask.array
        pixels[inside] += opacity * (colour - pixels[inside])
        pixels[inside & ~_core(inside)] = colour
    return Image.fromarray(pixels.round().astype(np.uint8))


def _core(inside: np.ndarray) -> np.ndarray:
    """Return the pixels whose four neighbours all belong to the mask."""
    padded = np.pad(inside, 1)
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
