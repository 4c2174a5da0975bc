"""CHAIR where two models cover equally much: read along their checkpoints, and compared with an interval.

A model that says less is wrong less often, so models are compared where they cover the same share of what is there.

Letters: S seeds, K checkpoints, Q questions, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError
from vlmzoo.scoring.statistics import Interval

__all__ = ["Course", "CoverageMatch", "match_coverage", "ratio_difference"]

_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Course:
    """What one way of training answered along its checkpoints, as counts of each answer, all ``(S, K, Q)``.

    Args:
        score_above: counts whose sum is the score's numerator, e.g. wrong objects.
        score_below: and its denominator, e.g. all objects named.
        coverage_above: likewise of coverage, e.g. right objects.
        coverage_below: e.g. all objects there.
        steps: ``(K,)``, the optimisation steps of the checkpoints, rising; 0 is the start.
    """

    score_above: _Array
    score_below: _Array
    coverage_above: _Array
    coverage_below: _Array
    steps: Sequence[int]

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            DataError: if they differ, or there are not at least two checkpoints.
        """
        shapes = {array.shape for array in self._counts}
        if len(shapes) > 1 or len(next(iter(shapes))) != 3 or next(iter(shapes))[1] != len(self.steps):
            raise DataError(
                f"Counts must all be (S, K, Q) with K = {len(self.steps)}, but are {sorted(shapes)} instead."
            )
        if len(self.steps) < 2 or list(self.steps) != sorted(set(self.steps)):
            raise DataError(f"`steps` must be at least two that rise, but are {list(self.steps)} instead.")

    @property
    def _counts(self) -> tuple[_Array, _Array, _Array, _Array]:
        return self.score_above, self.score_below, self.coverage_above, self.coverage_below

    def points(self, seeds: _Array, questions: _Array) -> tuple[_Array, _Array]:
        """Return coverages and scores, ``(R, K)`` each, with seeds ``(R, S)`` and questions ``(R, Q)`` so often."""
        above, below, right, there = (_weighted(counts, seeds, questions) for counts in self._counts)
        return _ratio(right, there), _ratio(above, below)


@dataclass(frozen=True, kw_only=True)
class CoverageMatch:
    """Two ways of training where they cover equally much.

    Args:
        coverage: the share at which both are read.
        steps: where each of them reaches it last, between its checkpoints.
        scores: of each, there.
        difference: the first minus the second, with an interval for other seeds and other questions.
    """

    coverage: float
    steps: tuple[float, float]
    scores: tuple[float, float]
    difference: Interval


def match_coverage(
    first: Course, second: Course, *, confidence: float = 0.95, num_resamples: int = 2_000, seed: int = 0
) -> CoverageMatch:
    """Compare two ways of training, which begin with the same models, at the coverage of the second's end.

    If the first never covers so much, or so little, both are read at the nearest coverage that it has. In each
    resample seeds and questions are drawn anew, for both alike, and the coverage is chosen anew. Where the two move
    to different sides of their start, what they share is the start, and the difference is 0: nothing is claimed there.

    Source: OViP, arXiv:2505.15963, compares F1 for this reason; Owen, The pigeonhole bootstrap, Annals of Applied
    Statistics 1 (2007), section 3.

    Args:
        first: counts of S seeds and Q questions.
        second: of the same seeds and questions.
        confidence: the share of resampled differences that lie inside.
        num_resamples: R.
        seed: of the draws.

    Raises:
        DataError: if seeds or questions differ in number, or there is no coverage that both have.
    """
    (num_seeds, _, num_questions), other = first.score_above.shape, second.score_above.shape
    if (num_seeds, num_questions) != (other[0], other[2]):
        raise DataError(
            f"Courses must have the same seeds and questions, but have {num_seeds} and {other[0]} seeds, "
            f"{num_questions} and {other[2]} questions."
        )
    whole = np.ones((1, num_seeds)), np.ones((1, num_questions))
    place = _match(*first.points(*whole), *second.points(*whole))[0]
    if place is None:
        raise DataError("There is no coverage that both ways of training reach; they must begin with the same model.")
    coverage, at, scores = place
    found = _match(*first.points(*(w := _draws(num_seeds, num_questions, num_resamples, seed))), *second.points(*w))
    differences = [mine - theirs for _, _, (mine, theirs) in filter(None, found)]
    mean = scores[0] - scores[1]
    low, high = np.quantile(differences, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return CoverageMatch(
        coverage=coverage,
        steps=(_read(first.steps, at[0]), _read(second.steps, at[1])),
        scores=scores,
        difference=Interval(
            mean=mean, low=min(float(low), mean), high=max(float(high), mean), num=num_seeds * num_questions
        ),
    )


def ratio_difference(
    first: tuple[_Array, _Array],
    second: tuple[_Array, _Array] | None = None,
    *,
    confidence: float = 0.95,
    num_resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Return a ratio of sums, or one minus another, with an interval in which seeds and questions are drawn anew.

    Source: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007), section 3.

    Args:
        first: numerators and denominators, ``(S, Q)``, such as wrong objects and objects named.
        second: of the same seeds and questions; None takes nothing away.
        confidence: the share of resampled values that lie inside.
        num_resamples: R.
        seed: of the draws.
    """
    num_seeds, num_questions = first[0].shape
    weights = _draws(num_seeds, num_questions, num_resamples, seed)
    whole = np.ones((1, num_seeds)), np.ones((1, num_questions))

    def value(weights: tuple[_Array, _Array]) -> _Array:
        ratios = [
            _ratio(*(_weighted(part[:, None], *weights)[:, 0] for part in pair)) for pair in (first, second) if pair
        ]
        return ratios[0] - ratios[1] if len(ratios) > 1 else ratios[0]

    mean = float(value(whole)[0])
    low, high = np.quantile(value(weights), [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean), num=num_seeds * num_questions)


_Place = tuple[float, tuple[float, float], tuple[float, float]]
"""A coverage, where along its checkpoints each of two reaches it, and their scores there."""


def _match(covered: _Array, scored: _Array, other_covered: _Array, other_scored: _Array) -> list[_Place | None]:
    """Match R resamples of two courses, ``(R, K)`` and ``(R, K')``."""
    return [_match_one(*rows) for rows in zip(covered, scored, other_covered, other_scored, strict=True)]


def _match_one(covered: _Array, scored: _Array, other_covered: _Array, other_scored: _Array) -> _Place | None:
    low = max(float(covered.min()), float(other_covered.min()))
    high = min(float(covered.max()), float(other_covered.max()))
    if low > high:
        return None
    coverage = min(max(float(other_covered[-1]), low), high)
    mine, theirs = _last_crossing(covered, coverage), _last_crossing(other_covered, coverage)
    if mine is None or theirs is None:
        return None
    return coverage, (mine, theirs), (_read(scored, mine), _read(other_scored, theirs))


def _last_crossing(reached: Sequence[float] | _Array, coverage: float) -> float | None:
    """Return the last place between checkpoints, from 0, that has the coverage."""
    if len(reached) and reached[-1] == coverage:
        return float(len(reached) - 1)
    for number, (before, after) in reversed(list(enumerate(pairwise(reached)))):
        if min(before, after) <= coverage <= max(before, after):
            return number + (0.5 if after == before else float((coverage - before) / (after - before)))
    return None


def _read(values: Sequence[float] | _Array, place: float) -> float:
    return float(np.interp(place, np.arange(len(values)), values))


def _draws(num_seeds: int, num_questions: int, num_resamples: int, seed: int) -> tuple[_Array, _Array]:
    """Return how often each seed ``(R, S)`` and each question ``(R, Q)`` is drawn."""
    generator = np.random.default_rng(seed)
    seeds, questions = (
        generator.multinomial(num, [1 / num] * num, size=num_resamples).astype(np.float64)
        for num in (num_seeds, num_questions)
    )
    return seeds, questions


def _weighted(counts: _Array, seeds: _Array, questions: _Array) -> _Array:
    """Sum ``(S, K, Q)`` with weights to ``(R, K)``."""
    return np.einsum("rs,rsk->rk", seeds, np.einsum("skq,rq->rsk", counts, questions, optimize=True))


def _ratio(above: _Array, below: _Array) -> _Array:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)
