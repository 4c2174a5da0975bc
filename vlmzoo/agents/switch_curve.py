"""Accuracy for compute: when to look, and what it costs.

Letters: N questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmzoo.errors import ConfigError

__all__ = ["CurvePoint", "calibrated_tau", "switch_curve"]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What a threshold comes to.

    Args:
        tau: answers less confident than this are looked for.
        accuracy: mean score.
        cost: mean work of a question.
        slow_share: share of questions that are looked for.
    """

    tau: float
    accuracy: float
    cost: float
    slow_share: float


def switch_curve(
    confidences: Sequence[float],
    *,
    fast_scores: Sequence[float],
    slow_scores: Sequence[float],
    fast_costs: Sequence[float],
    slow_costs: Sequence[float],
) -> list[CurvePoint]:
    """Return accuracy and cost for every threshold that makes a difference, the cheapest first.

    A question that is looked for costs what both ways cost.

    Args:
        confidences: of the N answers at a glance, within [0, 1].
        fast_scores: of those answers.
        slow_scores: of the answers with evidence.
        fast_costs: of those at a glance, in any unit.
        slow_costs: of looking and asking again, in the same unit.

    Raises:
        ConfigError: if there is no question, or the sequences differ in length.
    """
    columns = (confidences, fast_scores, slow_scores, fast_costs, slow_costs)
    lengths = {len(column) for column in columns}
    if len(lengths) > 1 or not len(confidences):
        raise ConfigError(f"All columns must be of the same questions, at least one, but have {sorted(lengths)} rows.")
    rows = list(zip(*columns, strict=True))
    points = []
    for tau in [0.0, *sorted({min(value + 1e-9, 1.0 + 1e-9) for value in confidences})]:
        slow = [confidence < tau for confidence in confidences]
        scores = [s if is_slow else f for is_slow, (_, f, s, _, _) in zip(slow, rows, strict=True)]
        costs = [f + (s if is_slow else 0.0) for is_slow, (_, _, _, f, s) in zip(slow, rows, strict=True)]
        points.append(
            CurvePoint(
                tau=tau,
                accuracy=sum(scores) / len(rows),
                cost=sum(costs) / len(rows),
                slow_share=sum(slow) / len(rows),
            )
        )
    return points


def calibrated_tau(points: Sequence[CurvePoint], *, tolerance: float = 0.01) -> float:
    """Return the threshold of the cheapest point whose accuracy is within ``tolerance`` of the best one.

    Raises:
        ConfigError: if there is no point, or the tolerance is negative.
    """
    if not points or tolerance < 0:
        raise ConfigError(f"There must be a point and a tolerance of zero or more, but there are {len(points)} points.")
    best = max(point.accuracy for point in points)
    good = [point for point in points if point.accuracy >= best - tolerance]
    return min(good, key=lambda point: (point.cost, point.tau)).tau
