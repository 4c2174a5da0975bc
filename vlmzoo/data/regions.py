"""A region in words, as Chain-of-Spot's models write it, and the pixels that it means.

Source: Chain-of-Spot, arXiv:2403.12966, section 3.2; FaST (arXiv:2408.08862) uses it as its ROI adapter. Numbers are
fractions of the centre-padded square.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from vlmzoo.data.prompts import load_prompts
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import Content, Message, user

__all__ = ["Region", "focus_turn", "read_region", "region_text", "region_turn"]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NUM_EDGES = 4
_LEAST_SIDE_PX = 32
_IMAGE_MARK = "<image>"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A region that was read out of an answer.

    Args:
        box: in the frame of the centre-padded square; the whole square where nothing could be read.
        fault: why it is the whole square; None if it was read.
    """

    box: Box
    fault: str | None = None


def region_text(box: Box, *, square: Frame) -> str:
    """Return a box in words: ``[0.25, 0.3, 0.75, 0.9]``, fractions of the square to three decimals.

    Args:
        box: in any frame of the image.
        square: the image's centre-padded square.
    """
    shown = box.to(square).to(square.unit)
    return str([round(min(max(edge, 0.0), 1.0), 3) for edge in shown.xyxy])


def region_turn(question: str, *, wording: Literal["what", "where"] = "what") -> Message:
    """Return the question for a region; ``where`` is the wording of the authors' training, ``what`` of evaluation."""
    return user(load_prompts("chain_of_spot")[wording].replace("{question}", question), num_images=1)


def focus_turn(question: str, *, asks_letter: bool = False) -> Message:
    """Return the question that shows the region; its image stands within the text.

    Args:
        question: of the user.
        asks_letter: whether an option's letter is asked for, as for ScienceQA.
    """
    prompts = load_prompts("chain_of_spot")
    before, after = prompts["focus"].replace("{question}", question).split(_IMAGE_MARK, 1)
    content: list[Content] = [
        {"type": "text", "text": before},
        {"type": "image", "inline": True},
        {"type": "text", "text": after + (prompts["letter"] if asks_letter else "")},
    ]
    return {"role": "user", "content": content}


def read_region(
    text: str, *, square: Frame, least_side_px: int = _LEAST_SIDE_PX, compat: Literal["cos"] | None = None
) -> Region:
    """Read a region out of an answer; what cannot be read is the whole square, and says why.

    Args:
        text: what the model said, whatever it is.
        square: the image's centre-padded square.
        least_side_px: a smaller region is widened about its middle, within the square.
        compat: ``cos`` applies the authors' rule: the text between the first and the last character, split at
            ``", "``, must be four numbers, taken as they are; corners in the wrong order are a failure.
    """
    numbers = _reference_numbers(text) if compat == "cos" else _four_numbers(text)
    if numbers is None:
        return Region(box=Box.whole(square), fault=f"there are no four numbers in {text[:60]!r}")
    if compat == "cos":
        x0, y0, x1, y1 = numbers
        if x1 < x0 or y1 < y0:
            return Region(box=Box.whole(square), fault=f"the corners in {text[:60]!r} are in the wrong order")
    else:
        clamped = [min(max(number, 0.0), 1.0) for number in numbers]
        (x0, x1), (y0, y1) = sorted(clamped[0::2]), sorted(clamped[1::2])
        least_x, least_y = least_side_px / square.width, least_side_px / square.height
        (x0, x1), (y0, y1) = _widened(x0, x1, least=least_x), _widened(y0, y1, least=least_y)
    edges = (x0 * square.width, y0 * square.height, x1 * square.width, y1 * square.height)
    return Region(box=Box.from_xyxy(edges, frame=square))


def _four_numbers(text: str) -> tuple[float, float, float, float] | None:
    """Return the first four numbers of a text, or None if there are fewer."""
    found = [float(match.group()) for _, match in zip(range(_NUM_EDGES), _NUMBER.finditer(text), strict=False)]
    if len(found) < _NUM_EDGES or not all(math.isfinite(number) for number in found):
        return None
    return found[0], found[1], found[2], found[3]


def _reference_numbers(text: str) -> tuple[float, float, float, float] | None:
    """Return the four numbers of an answer by the authors' rule, or None."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text[1:-1].split(", "))
    except ValueError:
        return None
    return (x0, y0, x1, y1) if all(math.isfinite(edge) for edge in (x0, y0, x1, y1)) else None


def _widened(low: float, high: float, *, least: float) -> tuple[float, float]:
    """Return an interval of at least some length about the same middle, within [0, 1]."""
    if high - low >= least:
        return low, high
    length = min(1.0, least)
    start = min(max((low + high - length) / 2, 0.0), 1.0 - length)
    return start, start + length
