"""Rewards of detection: how well boxes lie, and how well their confidences tell it.

Source: Visual-RFT, arXiv:2503.01785, section 3.2, equations 4 to 8, and its released code.
"""

from dataclasses import dataclass
from typing import Any, Literal

from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES
from vlmzoo.scoring._answers import Compat, check_compat
from vlmzoo.scoring.box_lists import Detection, detections_in, greedy_match, says_no_objects

__all__ = ["ConfidenceReward", "IouReward"]


@SCORES.register("iou", source="Visual-RFT, arXiv:2503.01785, equation 5", tiny={})
@dataclass(frozen=True, kw_only=True)
class IouReward:
    """Sum of the IoU of matched boxes over the number of boxes, within [0, 1].

    Boxes are matched greedily by confidence, each with the free true box that it overlaps most, if by more than half.
    An answer with one bad element counts as no answer. Where there is nothing to find, ``No Objects`` is worth 1.

    Args:
        denominator: ``max`` divides by the larger number of boxes, as the released code does; ``pred`` by the number
            of predicted ones, as the paper's equation does.
        compat: rules of published code.

    Raises:
        ConfigError: if an option is unknown.
    """

    denominator: Literal["max", "pred"] = "max"
    compat: Compat | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_compat(self.compat)
        if self.denominator not in ("max", "pred"):
            raise ConfigError(f"`denominator` must be max or pred, but is {self.denominator!r} instead.")

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, a solution such as ``<answer>[{'Position': [0, 0, 9, 9]}]</answer>``."""
        found, truth, settled = _compared(completion, str(reference), self.compat)
        if settled is not None:
            return settled
        total = sum(iou for _, iou in greedy_match(found, truth))
        return min(total / (max(len(found), len(truth)) if self.denominator == "max" else len(found)), 1.0)


@SCORES.register("confidence", source="Visual-RFT, arXiv:2503.01785, equations 6 to 8", tiny={})
@dataclass(frozen=True, kw_only=True)
class ConfidenceReward:
    """Mean over boxes of the confidence where one is matched, and of its complement where it is not, within [0, 1].

    One box anywhere with confidence 0 earns 1 by this rule; ``needs_match`` takes the hint away.

    Args:
        needs_match: whether an answer of which no box is matched is worth nothing.
        compat: rules of published code.

    Raises:
        ConfigError: if an option is unknown.
    """

    needs_match: bool = False
    compat: Compat | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_compat(self.compat)

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, a solution such as ``<answer>[{'Position': [0, 0, 9, 9]}]</answer>``."""
        found, truth, settled = _compared(completion, str(reference), self.compat)
        if settled is not None:
            return settled
        matched = greedy_match(found, truth)
        if self.needs_match and not any(iou for _, iou in matched):
            return 0.0
        return sum(_worth(detection, iou) for detection, iou in matched) / len(matched)


def _worth(detection: Detection, iou: float) -> float:
    confidence = min(max(detection.confidence, 0.0), 1.0)
    return confidence if iou else 1.0 - confidence


def _compared(
    completion: str, reference: str, compat: Compat | None
) -> tuple[list[Detection], list[Detection], float | None]:
    """Return found and true boxes, and the score where it is settled without them."""
    if compat is None and says_no_objects(reference):
        return [], [], float(says_no_objects(completion))
    found = detections_in(completion, compat=compat)
    truth = detections_in(reference, needs_confidence=False)
    if compat == "virft_released" and _verifier_agrees(found, truth):
        return [], [], 1.0
    if not found or not truth:
        return [], [], 0.0
    return found, truth, None


def _verifier_agrees(found: list[Detection] | None, truth: list[Detection] | None) -> bool:
    """Say whether the released code's symbolic verifier gives a full reward: it reads the first box's upper edge."""
    return bool(found and truth and found[0].edges[1] == truth[0].edges[1])
