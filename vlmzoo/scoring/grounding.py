"""Reward of grounding: how well one box lies, also where it misses.

Source: Visual-RFT, arXiv:2503.01785, section 3.2, and its released code for LISA; GIoU, arXiv:1902.09630.
"""

import re
from dataclasses import dataclass
from typing import Any

from vlmzoo.scoring import SCORES
from vlmzoo.scoring._answers import Compat, answer_of, check_compat, first_answer_of

__all__ = ["GroundingReward", "first_corners"]

_NUMBER = r"\s*+(\d{1,18}+)\s*+"
_CORNERS = re.compile(rf"\({_NUMBER},{_NUMBER}\)\s*+,\s*+\({_NUMBER},{_NUMBER}\)")

Corners = tuple[int, int, int, int]


@SCORES.register("grounding", source="Visual-RFT, arXiv:2503.01785, table 6, with GIoU, arXiv:1902.09630", tiny={})
@dataclass(frozen=True, kw_only=True)
class GroundingReward:
    """GIoU + 1 of the first box ``(x1,y1),(x2,y2)``, within [0, 2]; 0 without a box, or with a reversed one.

    Args:
        compat: rules of published code, under which reversed corners earn up to 21.

    Raises:
        ConfigError: if an option is unknown.
    """

    compat: Compat | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_compat(self.compat)

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, a solution such as ``<answer>(1,1),(9,9)</answer>``."""
        found = first_corners(completion if self.compat is None else first_answer_of(completion))
        truth = first_corners(str(reference))
        if found is None or truth is None:
            return 0.0
        if self.compat is None and (found[2] <= found[0] or found[3] <= found[1]):
            return 0.0
        return _giou(found, truth) + 1.0


def first_corners(text: str | None) -> Corners | None:
    """Return the corners of the first box in an answer; None where there is none.

    Args:
        text: a completion or a solution; None has no box.
    """
    answer = None if text is None else answer_of(text)
    match = None if answer is None else _CORNERS.search(answer)
    if match is None:
        return None
    left, upper, right, lower = (int(number) for number in match.groups())
    return left, upper, right, lower


def _giou(box: Corners, other: Corners) -> float:
    """Return the GIoU; areas keep their sign, so that reversed corners give what the released code gives."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    union = _area(box) + _area(other) - shared
    enclosing = (max(box[2], other[2]) - min(box[0], other[0])) * (max(box[3], other[3]) - min(box[1], other[1]))
    if union == 0 or enclosing == 0:
        return -1.0
    return shared / union - (enclosing - union) / enclosing


def _area(box: Corners) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
