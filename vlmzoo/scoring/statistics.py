"""How sure a mean is: percentile bootstrap intervals over the questions of a benchmark.

Letters: Q values (questions), S seeds, R resamples.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import ConfigError, DataError

__all__ = ["Interval", "bootstrap_interval", "crossed_interval"]

_RESAMPLES_AT_ONCE = 512  # keeps the drawn indices in the cache


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds it.

    Args:
        mean: of the values.
        low: lower end of the interval.
        high: upper end of the interval.
        num: how many values.
    """

    mean: float
    low: float
    high: float
    num: int

    def to_dict(self) -> dict[str, float]:
        """Return ``{mean, low, high, num}``, as it stands in ``scores.json``."""
        return asdict(self)


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of the values and its percentile bootstrap interval.

    Where there are two distinct values, as for right and wrong, the resampled mean is drawn from its own
    binomial distribution. The ends are widened, where rounding or a small ``confidence`` asks for it, so that they
    hold the mean. Values that are all equal have an interval of no width: the bootstrap cannot see what never occurred.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    Args:
        values: ``(Q,)``, one for each question, in any order.
        confidence: the share of resampled means that lie inside, within (0, 1).
        num_resamples: R, how often the Q values are drawn anew, with replacement.
        seed: of the draws; the same values, in any order, and seed give the same interval.

    Raises:
        DataError: if there are no values, or one is not a finite number.
        ConfigError: if ``confidence`` or ``num_resamples`` is out of range.
    """
    ordered = np.sort(_checked(values))  # sorted, so that neither the sum nor the draws depend on the order
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"`confidence` must be between 0 and 1, but is {confidence} instead; 0.95 is usual.")
    if num_resamples < 1:
        raise ConfigError(f"`num_resamples` must be at least 1, but is {num_resamples} instead; 10000 is usual.")
    mean = float(np.clip(ordered.mean(), ordered[0], ordered[-1]))
    means = _resampled_means(ordered, num_resamples=num_resamples, generator=np.random.default_rng(seed))
    low, high = np.quantile(means, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(
        mean=mean,
        low=max(min(float(low), mean), float(ordered[0])),
        high=min(max(float(high), mean), float(ordered[-1])),
        num=len(ordered),
    )


def crossed_interval(
    values: Sequence[Sequence[float]] | NDArray[np.float64],
    *,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of scores that several seeds got for the same questions, and an interval for both at once.

    Seeds and questions are drawn anew independently, so the interval tells how far the mean may move with other seeds
    *and* other questions; with few seeds it is coarse, and errs on the wide side. With one seed it is
    ``bootstrap_interval``'s. Paired differences of two systems go in as values of their own.

    Source: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007), section 3.

    Args:
        values: ``(S, Q)``: a row for each seed, a column for each question.
        confidence: the share of resampled means that lie inside, within (0, 1).
        num_resamples: R.
        seed: of the draws.

    Returns:
        The interval; ``num`` counts all S x Q values.

    Raises:
        DataError: if there are no values, rows differ in length, or a value is not a finite number.
        ConfigError: if ``confidence`` or ``num_resamples`` is out of range.
    """
    rows = [_checked(row) for row in values]
    if not rows or len({len(row) for row in rows}) > 1:
        raise DataError(
            "`values` must have a row for each seed, all of one length, but rows have lengths "
            f"{[len(row) for row in rows]} instead."
        )
    if len(rows) == 1:
        return bootstrap_interval(rows[0], confidence=confidence, num_resamples=num_resamples, seed=seed)
    table = np.stack(rows)
    whole = bootstrap_interval(table, confidence=confidence, num_resamples=1, seed=seed)  # checks, and the mean
    if num_resamples < 1:
        raise ConfigError(f"`num_resamples` must be at least 1, but is {num_resamples} instead; 10000 is usual.")
    generator = np.random.default_rng(seed)
    num_seeds, num_questions = table.shape
    seeds = generator.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=num_resamples)  # (R, S)
    questions = generator.multinomial(num_questions, [1 / num_questions] * num_questions, size=num_resamples)  # (R, Q)
    means = ((seeds @ table) * questions).sum(axis=1) / table.size
    low, high = np.quantile(means, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(mean=whole.mean, low=min(float(low), whole.mean), high=max(float(high), whole.mean), num=whole.num)


def _checked(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if array.size == 0:
        raise DataError("`values` must hold at least one score, but is empty instead; nothing was measured.")
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(
            f"`values` must be finite numbers, but value {first} is {array[first]} instead; look at that question."
        )
    return array


def _resampled_means(
    ordered: NDArray[np.float64], *, num_resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw R means of Q values: ``(Q,)`` sorted to ``(R,)``."""
    num, least, most = len(ordered), ordered[0], ordered[-1]
    num_most = int((ordered == most).sum())
    if num_most + int((ordered == least).sum()) >= num:  # one or two distinct values
        return least + (most - least) * generator.binomial(num, num_most / num, size=num_resamples) / num
    means = np.empty(num_resamples, dtype=np.float64)
    for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
        stop = min(start + _RESAMPLES_AT_ONCE, num_resamples)
        picked = generator.integers(0, num, size=(stop - start, num), dtype=np.uint32)
        means[start:stop] = ordered[picked].mean(axis=1)
    return means
