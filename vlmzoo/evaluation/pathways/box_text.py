"""Places in words as an evidence pathway: the box of an object, or the region that Chain-of-Spot's models say."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlmzoo.agents.shown import Shown
from vlmzoo.evaluation.pathways import PATHWAYS
from vlmzoo.evaluation.pathways._shown import ShownPathway

__all__ = ["BoxTextPathway", "RoiTextPathway"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@PATHWAYS.register("box_text", source="vlmzoo's own; the places of V*, arXiv:2312.14135, section 3.1", tiny={})
class BoxTextPathway(ShownPathway):
    """The numbers that say where an object is, while its crop stays.

    ``blank`` says the whole picture, ``swap`` the place of another question's object, ``shuffle`` the same numbers in
    another order, ``noise`` a random box. The way in which numbers are written stays, and a text without numbers is as
    it was.

    Args:
        subject: an agent.
    """

    def other(self, kind: str, shown: Shown, partner: Shown, draw: np.random.Generator) -> Shown:
        """Return the evidence with another place."""
        if kind == "swap":
            return replace(shown, text=partner.text)
        written = _NUMBER.findall(shown.text)
        if kind == "blank":
            numbers = [0.0, 0.0, 1.0, 1.0]
        elif kind == "shuffle":
            numbers = _disordered([float(text) for text in written], draw)
        else:
            (x0, x1), (y0, y1) = (sorted(draw.random(2)) for _ in range(2))
            numbers = [x0, y0, x1, y1]
        return replace(shown, text=_rewritten(shown.text, written, numbers))


@PATHWAYS.register(
    "roi_text", source="vlmzoo's own; the regions of Chain-of-Spot, arXiv:2403.12966, section 3.2", tiny={}
)
class RoiTextPathway(BoxTextPathway):
    """The region in the model's own words, which stands as its first answer before the second question.

    Args:
        subject: an agent that looks twice.
    """


def _disordered(numbers: Sequence[float], draw: np.random.Generator) -> list[float]:
    """Return the numbers in another order; equal ones have none."""
    if len(set(numbers)) < 2:
        return list(numbers)
    while True:
        order = [numbers[place] for place in draw.permutation(len(numbers))]
        if order != list(numbers):
            return order


def _rewritten(text: str, written: Sequence[str], numbers: Sequence[float]) -> str:
    """Put numbers in place of those of a text, with as many decimals as those have."""
    given = iter(zip(written, numbers, strict=False))

    def put(match: re.Match[str]) -> str:
        held = next(given, None)
        if held is None:
            return match.group()
        decimals = len(held[0].partition(".")[2])
        return f"{held[1]:.{decimals}f}"

    return _NUMBER.sub(put, text)
