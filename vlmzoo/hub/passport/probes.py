"""The three pictures and the texts that every passport asks about; drawn with whole numbers, so the same everywhere."""

from functools import cache

import numpy as np
from PIL import Image

from vlmzoo.types import Sample, assistant, user

__all__ = ["TEXTS", "probe_pictures", "probe_samples"]

TEXTS = (
    "What is in the picture?",
    " two  spaces\nand a line\n\n",
    "Ünïcödé, 图像 and 🙂",
    "x=3.14; 2026-11-30",
    "<image> </s> <|im_end|> [SEG]",
)
"""Texts whose ids tell tokenizers apart: spaces, lines, accents, other scripts, digits, control tokens."""

_SIZES = {"wide": (96, 60), "tall": (56, 104), "small": (31, 33)}
"""(Width, height) in pixels."""


@cache
def probe_pictures() -> dict[str, Image.Image]:
    """Return the pictures by name: a wide and a tall one, and one that is smaller than any patch grid."""
    return {name: _drawn(*size, seed=number) for number, (name, size) in enumerate(_SIZES.items())}


def probe_samples() -> list[Sample]:
    """Return a conversation about each picture."""
    return [
        Sample(messages=[user(TEXTS[0], num_images=1), assistant(f"It is the {name} one.")], images=[picture], id=name)
        for name, picture in probe_pictures().items()
    ]


def _drawn(width: int, height: int, *, seed: int) -> Image.Image:
    """Draw slopes, a disc and a fine chequer: what stretching, padding, cropping and interpolation each change."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = (255 * columns) // max(width - 1, 1)
    green = (255 * rows) // max(height - 1, 1)
    is_disc = (columns - width // 3) ** 2 + (rows - height // 2) ** 2 < (min(width, height) // 4) ** 2
    chequer = ((columns // 2 + rows // 2 + seed) % 2) * 200
    blue = np.where(columns > 2 * width // 3, chequer, 40 + 60 * seed)
    pixels = np.stack([np.where(is_disc, 230, red), np.where(is_disc, 30, green), blue], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))
