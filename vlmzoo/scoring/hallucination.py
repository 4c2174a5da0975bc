"""Figures made of other figures: F1 of what is said and what is so, and the index of OViP.

Letters: Q questions, R resamples.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring.statistics import Interval

__all__ = ["amber_f1", "hallucination_index", "object_f1", "ratio_interval", "sums_interval"]


def amber_f1(chair: float, cover: float) -> float:
    """Return the harmonic mean of ``100 - CHAIR`` and Cover, all in percent; 0 where both are 0.

    Source: OViP, arXiv:2505.15963, section on evaluation.
    """
    return object_f1(100.0 - chair, cover)


def object_f1(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall, in their unit; 0 where both are 0."""
    total = precision + recall
    return 2.0 * precision * recall / total if total else 0.0


def hallucination_index(
    scores: Mapping[str, float], *, base: Mapping[str, float], reference: Mapping[str, float]
) -> float:
    """Return OViP's HRI: over its benchmarks, twice the share of the way from the base to a reference model.

    It means something within one study only, whose base and reference have to be declared; a model that equals the
    reference on all five gets 10.

    Source: OViP, arXiv:2505.15963, section on evaluation.

    Args:
        scores: of the model, by benchmark.
        base: of the model that training began with, on the same benchmarks.
        reference: of the model that stands for 10.

    Raises:
        ConfigError: if the benchmarks differ, or one does not tell base and reference apart.
    """
    if not scores or set(scores) != set(base) or set(scores) != set(reference):
        raise ConfigError(
            f"`scores`, `base` and `reference` must name the same benchmarks, but name {sorted(scores)}, "
            f"{sorted(base)} and {sorted(reference)} instead; declare both endpoints in full."
        )
    for name in scores:
        if reference[name] == base[name]:
            raise ConfigError(f"`reference` must differ from `base` on `{name}`, but both are {base[name]} instead.")
    return sum(2.0 * (scores[name] - base[name]) / (reference[name] - base[name]) for name in scores)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a ratio of sums over questions, such as CHAIR, with its percentile bootstrap interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Args:
        numerators: ``(Q,)``, e.g. the wrong objects of each description.
        denominators: ``(Q,)``, e.g. all that it mentions.
        confidence: the share of resampled ratios that lie inside.
        num_resamples: R.
        seed: of the draws.

    Returns:
        The ratio; ``num`` is Q. It is 0, with an interval of no width, where there is nothing to divide by.

    Raises:
        DataError: if there are no questions, or their numbers differ.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if above.shape != below.shape or above.size == 0:
        raise DataError(
            f"`numerators` and `denominators` must be of one length above 0, but have {above.size} and {below.size}."
        )
    if not below.sum():
        return Interval(mean=0.0, low=0.0, high=0.0, num=above.size)
    mean = float(above.sum() / below.sum())
    ratios = _resampled(above, below, num_resamples=num_resamples, generator=np.random.default_rng(seed))
    low, high = np.quantile(ratios, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean), num=above.size)


def sums_interval(
    counts: Sequence[Sequence[float]],
    figure: Callable[..., float | None],
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a figure of several sums over questions, such as an F1, with its percentile bootstrap interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Args:
        counts: ``(Q, C)``: C counts of each question.
        figure: makes the figure of the C sums; None where they do not give one.
        confidence: the share of resampled figures that lie inside.
        num_resamples: R.
        seed: of the draws.

    Returns:
        The figure; ``num`` is Q. It is 0, with an interval of no width, where the sums do not give one.

    Raises:
        DataError: if there are no questions.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise DataError(f"`counts` must hold a row for each question, but has shape {table.shape} instead.")
    whole = figure(*table.sum(axis=0).tolist())
    if whole is None:
        return Interval(mean=0.0, low=0.0, high=0.0, num=len(table))
    generator = np.random.default_rng(seed)
    drawn = (table[generator.integers(0, len(table), size=len(table))].sum(axis=0) for _ in range(num_resamples))
    made = [value for value in (figure(*sums.tolist()) for sums in drawn) if value is not None]
    low, high = np.quantile(made or [whole], [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(mean=float(whole), low=min(float(low), whole), high=max(float(high), whole), num=len(table))


def _resampled(
    above: NDArray[np.float64], below: NDArray[np.float64], *, num_resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw R ratios; a draw with nothing to divide by is left out."""
    ratios: list[NDArray[np.float64]] = []
    for start in range(0, num_resamples, 512):
        rows = min(512, num_resamples - start)
        picked = generator.integers(0, above.size, size=(rows, above.size), dtype=np.uint32)
        tops, bottoms = above[picked].sum(axis=1), below[picked].sum(axis=1)
        ratios.append(tops[bottoms != 0] / bottoms[bottoms != 0])
    return np.concatenate(ratios)
