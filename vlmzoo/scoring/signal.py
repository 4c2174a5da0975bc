"""How well two classes are told apart, whatever the threshold, and what a threshold makes of it.

Letters: Q questions, R resamples.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError
from vlmzoo.scoring.statistics import Interval

__all__ = ["area_under_roc", "balanced_accuracy", "d_prime", "statistic_interval"]

Numbers = NDArray[np.float64]


def area_under_roc(scores: Sequence[float] | Numbers, is_positive: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Return the probability that a positive scores higher than a negative, ties counted half; NaN without both.

    Source: Hanley and McNeil, Radiology 143 (1982); it is the Mann-Whitney statistic.

    Args:
        scores: ``(Q,)``.
        is_positive: ``(Q,)``.
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(is_positive, dtype=bool)
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    return float((ranks[positive].sum() - num_positive * (num_positive + 1) / 2.0) / (num_positive * num_negative))


def d_prime(scores: Sequence[float] | Numbers, is_positive: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Return the distance of two normal distributions of equal width that are told apart as well as these scores.

    It is sqrt(2) times the normal quantile of the area under the curve; an area of 0 or 1 is taken for half a pair of
    questions away from it. Source: Macmillan and Creelman, Detection Theory (2005), chapter 3.

    Args:
        scores: ``(Q,)``.
        is_positive: ``(Q,)``.
    """
    area = area_under_roc(scores, is_positive)
    if math.isnan(area):
        return math.nan
    positive = np.asarray(is_positive, dtype=bool)
    edge = 0.5 / (int(positive.sum()) * int((~positive).sum()))
    return math.sqrt(2.0) * NormalDist().inv_cdf(min(max(area, edge), 1.0 - edge))


def balanced_accuracy(is_right: Sequence[bool] | Numbers, classes: Sequence[object]) -> float:
    """Return the mean over classes of the share of right answers; NaN without any.

    Args:
        is_right: ``(Q,)``, 1 or 0.
        classes: ``(Q,)``, the right answers.
    """
    right, names = np.asarray(is_right, dtype=np.float64), np.asarray([str(name) for name in classes])
    found = [right[names == name].mean() for name in np.unique(names)]
    return float(np.mean(found)) if found else math.nan


def statistic_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    num: int,
    *,
    confidence: float = 0.95,
    num_resamples: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of all questions and its percentile bootstrap interval, whatever the statistic.

    Resamples in which it is not defined (a class is missing) are left out.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Args:
        statistic: of the questions with these numbers, drawn with replacement.
        num: Q.
        confidence: the share of resampled values that lie inside.
        num_resamples: R.
        seed: of the draws.

    Raises:
        DataError: if there are no questions, or the statistic is not defined for them.
    """
    whole = statistic(np.arange(num)) if num else math.nan
    if not math.isfinite(whole):
        raise DataError("A statistic must be defined for the questions, but is not; is one class missing?")
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(generator.integers(0, num, size=num)) for _ in range(num_resamples)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = (
        np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]) if len(drawn) else (whole, whole)
    )
    return Interval(mean=whole, low=min(float(low), whole), high=max(float(high), whole), num=num)
