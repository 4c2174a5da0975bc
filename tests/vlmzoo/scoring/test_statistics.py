import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring.statistics import Interval, bootstrap_interval, crossed_interval

sixteenths = st.integers(-64, 64).map(lambda count: count / 16)
rights_and_wrongs = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40)
values = rights_and_wrongs | st.lists(sixteenths, min_size=1, max_size=40)


@given(values, st.floats(0.01, 0.99))
def test_the_interval_holds_the_mean_and_stays_among_the_values(values, confidence):
    interval = bootstrap_interval(values, confidence=confidence, num_resamples=200)
    assert min(values) <= interval.low <= interval.mean <= interval.high <= max(values)
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval.num == len(values)


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_matter(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    assert bootstrap_interval(shuffled, num_resamples=200) == bootstrap_interval(values, num_resamples=200)


@given(values)
def test_more_confidence_never_gives_a_narrower_interval(values):
    narrow, wide = (bootstrap_interval(values, confidence=c, num_resamples=200) for c in (0.5, 0.95))
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(sixteenths, st.integers(1, 20))
def test_equal_values_have_an_interval_of_no_width(value, num):
    assert bootstrap_interval([value] * num) == Interval(mean=value, low=value, high=value, num=num)


def test_rights_and_wrongs_agree_with_the_binomial_distribution():
    # 500 questions, 90 % right: the 2.5 % and 97.5 % quantiles of Binomial(500, 0.9) are 436 and 463
    interval = bootstrap_interval([1.0] * 450 + [0.0] * 50, num_resamples=200_000)
    assert interval.low == pytest.approx(436 / 500, abs=1 / 500)
    assert interval.high == pytest.approx(463 / 500, abs=1 / 500)


def test_two_values_resampled_as_counts_agree_with_values_resampled_one_by_one():
    two = np.array([0.25] * 30 + [0.75] * 20)
    nearly_two = np.append(two[:-1], 0.75 + 1e-9)  # a third value takes the general path
    fast, general = bootstrap_interval(two), bootstrap_interval(nearly_two)
    assert (fast.low, fast.high) == pytest.approx((general.low, general.high), abs=0.011)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    intervals = [bootstrap_interval(generator.normal(size=100), num_resamples=400, seed=i) for i in range(400)]
    coverage = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 0.90 < coverage < 0.98


def test_one_value_is_its_own_interval():
    assert bootstrap_interval([0.5]) == Interval(mean=0.5, low=0.5, high=0.5, num=1)


def test_no_value_is_an_error():
    with pytest.raises(DataError, match="at least one score, but is empty"):
        bootstrap_interval([])


def test_a_value_that_is_no_number_is_named():
    with pytest.raises(DataError, match="value 1 is nan"):
        bootstrap_interval([0.0, float("nan")])


@pytest.mark.parametrize("options", [{"confidence": 1.0}, {"confidence": 0.0}, {"num_resamples": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` must be"):
        bootstrap_interval([0.0, 1.0], **options)


@pytest.mark.parametrize("is_binary", [True, False])
def test_five_hundred_values_take_a_fraction_of_a_second(is_binary):
    values = np.random.default_rng(0).random(500)
    values = (values < 0.9).astype(float) if is_binary else values
    seconds = []
    for _ in range(5):
        start = time.process_time()
        bootstrap_interval(values)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2  # measured 0.03; a machine that is busy elsewhere may be slower


tables = st.integers(1, 12).flatmap(
    lambda num: st.lists(st.lists(sixteenths, min_size=num, max_size=num), min_size=1, max_size=4)
)


@given(tables)
def test_the_interval_over_seeds_holds_the_mean_and_stays_among_the_values(table):
    interval = crossed_interval(table, num_resamples=100)
    lowest, highest = np.min(table), np.max(table)
    assert lowest - 1e-12 <= interval.low <= interval.mean <= interval.high <= highest + 1e-12
    assert interval.mean == pytest.approx(np.mean(table)) and interval.num == np.size(table)


@given(st.lists(sixteenths, min_size=1, max_size=12))
def test_one_seed_gives_the_interval_over_questions(row):
    assert crossed_interval([row], num_resamples=100) == bootstrap_interval(row, num_resamples=100)


def test_the_spread_over_seeds_and_questions_is_the_sum_of_both():
    rng = np.random.default_rng(0)
    seeds, questions = rng.normal(size=(40, 1)), rng.normal(size=(1, 60))
    interval = crossed_interval(seeds + questions, num_resamples=40_000)
    expected = 1.96 * np.sqrt(seeds.var() / 40 + questions.var() / 60)
    assert interval.high - interval.mean == pytest.approx(expected, rel=0.05)
    assert interval.mean - interval.low == pytest.approx(expected, rel=0.05)


def test_rows_of_different_length_are_refused():
    with pytest.raises(DataError, match=r"all of one length, but rows have lengths \[2, 1\]"):
        crossed_interval([[0.0, 1.0], [1.0]])
    with pytest.raises(DataError, match=r"lengths \[\]"):
        crossed_interval([])
