"""Words as small bitmaps, drawn once: DejaVu Sans, which Matplotlib uses too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Word", "cap_height_px", "fitting_size_px", "label_width_px", "word_bitmap"]

_UNITS_PER_EM = 2048
_CAP_HEIGHT_EM = 1493 / _UNITS_PER_EM  # of DejaVu Sans, regular and bold
_BOLD_KERNING = {"Fe": -83, "Pa": -55, "Ps": -36, "Py": 38, "Ta": -264, "To": -272, "Tu": -225, "Tw": -225, "Ve": -112}
_BOLD_KERNING |= {"Wa": -73, "ay": -63}  # of the pairs in our names; Pillow's basic layout does not apply them in full
_ROUNDING_PX = 0.4  # by which the authors' labels are wider than the metrics say, measured on their figures
_BOLD_FILE, _REGULAR_FILE = "DejaVuSans-Bold.ttf", "DejaVuSans.ttf"


@dataclass(frozen=True)
class Word:
    """The ink of a word.

    Args:
        alpha: ``(H, W)`` of uint8, 255 where the ink covers the pixel.
        left_px: from the pen to the left edge of ``alpha``.
        top_px: from the baseline to the top edge of ``alpha``; negative above the baseline.
        advance_px: from pen to pen, the width that layout counts with.
    """

    alpha: NDArray[np.uint8]
    left_px: int
    top_px: int
    advance_px: float


@lru_cache(maxsize=256)
def _font(size_px: float, *, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(BytesIO(_font_bytes(bold=bold)), size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def _font_bytes(*, bold: bool) -> bytes:
    return files("vlmzoo.data").joinpath("fonts").joinpath(_BOLD_FILE if bold else _REGULAR_FILE).read_bytes()


@lru_cache(maxsize=4096)
def word_bitmap(text: str, size_px: float, *, bold: bool) -> Word:
    """Draw ``text`` with an em of ``size_px`` pixels."""
    font = _font(size_px, bold=bold)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text, anchor="ls"))
    image = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return Word(np.asarray(image), left, top, font.getlength(text))


def label_width_px(text: str, size_px: float) -> float:
    """Return the width of ``text`` in bold as Matplotlib's layout counts it: by the font's metrics, without hinting."""
    font = _font(_UNITS_PER_EM, bold=True)
    units = sum([font.getlength(letter) for letter in text])
    units += sum([_BOLD_KERNING.get(first + second, 0) for first, second in pairwise(text)])
    return units * size_px / _UNITS_PER_EM + _ROUNDING_PX


def cap_height_px(size_px: float) -> float:
    """Return the height of capital letters."""
    return _CAP_HEIGHT_EM * size_px


def fitting_size_px(words: Sequence[str], *, width_px: float, height_px: float, bold: bool) -> float:
    """Return the largest em, a multiple of half a pixel, at which every word's ink is within the width.

    Args:
        words: the words that will have this size.
        width_px: of the room for the ink.
        height_px: of the room for a capital letter.
        bold: whether the words are bold.

    Returns:
        The em in pixels; 0 if nothing fits.
    """
    half_pixels = math.floor(2 * height_px / _CAP_HEIGHT_EM)
    for size_px in (count / 2 for count in range(half_pixels, 2, -1)):
        if all(word_bitmap(word, size_px, bold=bold).alpha.shape[1] <= width_px for word in words):
            return size_px
    return 0.0
