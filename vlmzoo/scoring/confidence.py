"""From how sure fast answers were to the threshold below which a slow answer is worth its price."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmzoo.errors import ConfigError, DataError

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A threshold, and what it came to where it was chosen.

    Args:
        tau: answers with a confidence below it are given slowly.
        accuracy: share of right answers.
        compute: mean cost of an answer, with 1 for a fast one.
        slow_share: share of questions that are answered slowly.
    """

    tau: float
    accuracy: float
    compute: float
    slow_share: float


def calibrate(
    confidences: Sequence[float],
    is_fast_right: Sequence[bool],
    is_slow_right: Sequence[bool],
    *,
    slow_cost: float,
    tolerance: float = 0.01,
) -> Calibration:
    """Choose the threshold with the most right answers for the compute, of those that are nearly as good as the best.

    Source: the idea of switching by need, FaST, arXiv:2408.08862, section 3; the rule is ours.

    Args:
        confidences: of fast answers to labelled questions.
        is_fast_right: whether they were right.
        is_slow_right: whether slow answers were.
        slow_cost: what a slow answer costs beside the fast one that was given first, which costs 1.
        tolerance: accuracy that may be given up for compute; 1 weighs nothing but right answers per compute.

    Raises:
        ConfigError: if a cost or a tolerance is negative.
        DataError: if there are no questions, or the lists differ in length.
    """
    if slow_cost < 0 or tolerance < 0:
        raise ConfigError(f"`slow_cost` and `tolerance` must be 0 or more, but are {slow_cost} and {tolerance}.")
    number = len(confidences)
    if not number or len(is_fast_right) != number or len(is_slow_right) != number:
        lengths = (number, len(is_fast_right), len(is_slow_right))
        raise DataError(f"Labelled questions must be as many in all three lists, and at least one, but are {lengths}.")
    found = [
        _at(tau, confidences, is_fast_right, is_slow_right, slow_cost=slow_cost)
        for tau in [*sorted(set(confidences)), float("inf")]
    ]
    best = max(one.accuracy for one in found)
    good = [one for one in found if one.accuracy >= best - tolerance]
    return max(good, key=lambda one: (one.accuracy / one.compute, one.accuracy, -one.slow_share))


def _at(
    tau: float, confidences: Sequence[float], fast: Sequence[bool], slow: Sequence[bool], *, slow_cost: float
) -> Calibration:
    is_slow = [confidence < tau for confidence in confidences]
    right = [bool(s if chosen else f) for chosen, f, s in zip(is_slow, fast, slow, strict=True)]
    share = sum(is_slow) / len(is_slow)
    return Calibration(tau=tau, accuracy=sum(right) / len(right), compute=1 + share * slow_cost, slow_share=share)
