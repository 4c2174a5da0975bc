"""The threshold below which a slow answer is worth its price."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring.confidence import calibrate

rows = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.booleans()), min_size=1, max_size=12)


@given(rows=rows, cost=st.integers(0, 8), tau=st.integers(0, 9))
def test_no_other_threshold_is_better_and_nearly_as_right(rows, cost, tau):
    confidences, fast, slow = (list(column) for column in zip(*rows, strict=True))
    chosen = calibrate(confidences, fast, slow, slow_cost=cost, tolerance=0.125)
    right = [s if c < tau else f for c, f, s in rows]
    accuracy, compute = sum(right) / len(rows), 1 + cost * sum(c < tau for c in confidences) / len(rows)
    assert accuracy - 0.125 <= chosen.accuracy + 1e-12
    best = calibrate(confidences, fast, slow, slow_cost=cost, tolerance=0.0).accuracy
    if accuracy >= best - 0.125:
        assert chosen.accuracy / chosen.compute >= accuracy / compute - 1e-12


def test_sure_answers_stay_fast_and_unsure_ones_are_looked_at_again():
    found = calibrate([0.9, 0.8, 0.2, 0.1], [True, True, False, False], [True] * 4, slow_cost=3.0)
    assert (found.tau, found.accuracy, found.compute, found.slow_share) == (0.8, 1.0, 2.5, 0.5)
    cheap = calibrate([0.9, 0.8, 0.2, 0.1], [True, True, False, False], [True] * 4, slow_cost=3.0, tolerance=1.0)
    assert cheap.slow_share == 0.0


def test_what_cannot_be_weighed_is_refused():
    with pytest.raises(DataError, match="as many in all three lists"):
        calibrate([0.5], [True], [], slow_cost=1.0)
    with pytest.raises(ConfigError, match="must be 0 or more"):
        calibrate([0.5], [True], [True], slow_cost=-1.0)
