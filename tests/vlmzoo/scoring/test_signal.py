import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.errors import DataError
from vlmzoo.scoring.signal import area_under_roc, balanced_accuracy, d_prime, statistic_interval

PAIRS = st.lists(st.tuples(st.integers(-5, 5).map(float), st.booleans()), min_size=2, max_size=30).filter(
    lambda rows: len({positive for _, positive in rows}) == 2
)


@settings(max_examples=50)
@given(PAIRS)
def test_the_area_is_the_share_of_pairs_in_the_right_order(rows):
    scores, positive = zip(*rows, strict=True)
    won = [
        (one > other) + 0.5 * (one == other)
        for one, p in rows if p
        for other, q in rows if not q
    ]  # fmt: skip
    assert area_under_roc(scores, positive) == pytest.approx(sum(won) / len(won))
    flipped = area_under_roc(scores, [not p for p in positive])
    assert area_under_roc(scores, positive) + flipped == pytest.approx(1)
    assert area_under_roc([math.exp(score) for score in scores], positive) == area_under_roc(scores, positive)
    assert d_prime(scores, positive) == pytest.approx(-d_prime([-score for score in scores], positive), abs=1e-9)


def test_d_prime_is_the_distance_of_two_normal_distributions():
    generator = np.random.default_rng(0)
    scores = np.concatenate([generator.normal(1.5, 1, 4000), generator.normal(0, 1, 4000)])
    assert d_prime(scores, np.arange(8000) < 4000) == pytest.approx(1.5, abs=0.06)
    assert math.isfinite(d_prime([1.0, 0.0], [True, False]))
    assert math.isnan(d_prime([1.0, 0.0], [True, True]))


def test_balanced_accuracy_does_not_pay_for_the_majority():
    assert balanced_accuracy([1] * 9 + [0], ["yes"] * 9 + ["no"]) == 0.5


def test_the_interval_of_a_mean_is_that_of_the_bootstrap():
    values = np.arange(50) % 2
    found = statistic_interval(lambda picked: float(values[picked].mean()), 50)
    assert found.mean == 0.5 and 0.3 < found.low < 0.42 and 0.58 < found.high < 0.7
    with pytest.raises(DataError, match="is one class missing"):
        statistic_interval(lambda picked: math.nan, 5)
