"""Laws of comparing where coverage is equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import DataError
from vlmzoo.scoring.coverage import Course, match_coverage, ratio_difference


def make_course(points, *, num_seeds=1, num_questions=40, noise=0.0, seed=0):
    """Return a course with given coverages and scores: of ten objects so many are right, and so many are wrong."""
    draw = np.random.default_rng(seed)
    shape = (num_seeds, len(points), num_questions)
    ones = np.ones(shape)
    cover, score = (np.array(values)[None, :, None] * ones for values in zip(*points, strict=True))
    return Course(
        score_above=10 * score + noise * draw.normal(size=shape),
        score_below=10 * ones,
        coverage_above=10 * cover + noise * draw.normal(size=shape),
        coverage_below=10 * ones,
        steps=[20 * number for number in range(len(points))],
    )


def test_scores_are_read_where_checkpoints_pass_the_coverage_last():
    first = make_course([(0.6, 0.3), (0.8, 0.2), (0.7, 0.1)])
    match = match_coverage(first, make_course([(0.6, 0.3), (0.75, 0.2)]))
    assert match.steps == pytest.approx((30, 20)) and match.scores == pytest.approx((0.15, 0.2))
    match = match_coverage(first, make_course([(0.6, 0.3), (0.65, 0.2)]))
    assert match.steps == pytest.approx((5, 20)) and match.scores == pytest.approx((0.275, 0.2))


def test_the_end_of_the_second_is_where_both_are_read():
    first = make_course([(0.9, 0.2), (0.8, 0.1), (0.6, 0.0)])
    second = make_course([(0.9, 0.2), (0.85, 0.2), (0.7, 0.18)])
    match = match_coverage(first, second)
    assert match.coverage == pytest.approx(0.7)
    assert match.steps == pytest.approx((30, 40)) and match.scores == pytest.approx((0.05, 0.18))
    assert match.difference.mean == pytest.approx(-0.13) and match.difference.high <= -0.12


def test_a_first_that_never_goes_so_far_is_read_where_it_went_farthest():
    first = make_course([(0.9, 0.2), (0.8, 0.1)])
    second = make_course([(0.9, 0.2), (0.6, 0.1)])
    match = match_coverage(first, second)
    assert match.coverage == pytest.approx(0.8) and match.steps == pytest.approx((20, 20 / 3))


def test_arms_that_leave_their_start_to_different_sides_share_it_alone():
    match = match_coverage(make_course([(0.8, 0.2), (0.9, 0.3)]), make_course([(0.8, 0.2), (0.7, 0.1)]))
    assert match.steps == (0, 0) and match.difference.mean == 0


def test_what_has_no_coverage_in_common_is_refused():
    with pytest.raises(DataError, match="must begin with the same model"):
        match_coverage(make_course([(0.8, 0.2), (0.9, 0.3)]), make_course([(0.3, 0.2), (0.4, 0.1)]))
    with pytest.raises(DataError, match="40 and 3 questions"):
        points = [(0.8, 0.2), (0.9, 0.3)]
        match_coverage(make_course(points), make_course(points, num_questions=3))
    with pytest.raises(DataError, match="at least two that rise"):
        make_course([(0.8, 0.2)])


@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0, 1)), min_size=2, max_size=5), st.integers(1, 3))
def test_the_same_course_differs_by_nothing(points, num_seeds):
    course = make_course(points, num_seeds=num_seeds)
    match = match_coverage(course, course, num_resamples=20)
    assert match.difference.mean == match.difference.low == match.difference.high == 0
    assert match.steps[0] == match.steps[1]


def test_an_interval_grows_with_the_noise_of_the_answers_and_holds_the_difference():
    points = ([(0.9, 0.2), (0.7, 0.1)], [(0.9, 0.2), (0.7, 0.15)])
    calm, loud = (
        match_coverage(
            *(make_course(one, num_seeds=3, noise=noise, seed=seed) for seed, one in enumerate(points)),
            num_resamples=400,
        ).difference
        for noise in (0.2, 2.0)
    )
    assert calm.low < calm.mean < calm.high and calm.mean == pytest.approx(-0.05, abs=0.02)
    assert calm.high - calm.low < 0.5 * (loud.high - loud.low)


def test_a_ratio_of_sums_is_what_its_sums_say_and_a_difference_is_paired():
    above = np.array([[1.0, 0, 2], [0, 0, 3]])
    below = np.array([[2.0, 1, 4], [1, 2, 4]])
    assert ratio_difference((above, below)).mean == pytest.approx(6 / 14)
    alike = ratio_difference((above, below), (above, below))
    assert alike.mean == alike.low == alike.high == 0
    assert ratio_difference((above, 0 * below)).mean == 0
