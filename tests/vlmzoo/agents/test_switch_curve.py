"""When to look: what each threshold comes to, and the cheapest good one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.agents.noun_chunks import question_objects
from vlmzoo.agents.switch_curve import calibrated_tau, switch_curve
from vlmzoo.errors import ConfigError

ROW = st.tuples(
    st.integers(0, 16).map(lambda n: n / 16), st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]),
    st.integers(1, 9).map(float), st.integers(0, 9).map(float),
)  # fmt: skip


def make_curve(rows):
    confidences, fast, slow, cheap, dear = zip(*rows, strict=True)
    return switch_curve(confidences, fast_scores=fast, slow_scores=slow, fast_costs=cheap, slow_costs=dear)


@given(st.lists(ROW, min_size=1, max_size=12))
def test_the_curve_begins_with_all_fast_ends_with_all_slow_and_never_grows_cheaper(rows):
    points, num = make_curve(rows), len(rows)
    assert (points[0].slow_share, points[-1].slow_share) == (0.0, 1.0)
    assert points[0].accuracy == pytest.approx(sum(row[1] for row in rows) / num)
    assert points[-1].accuracy == pytest.approx(sum(row[2] for row in rows) / num)
    assert points[-1].cost == pytest.approx(sum(row[3] + row[4] for row in rows) / num)
    assert all(one.cost <= other.cost + 1e-9 for one, other in pairwise(points))


@given(st.lists(ROW, min_size=1, max_size=12))
def test_the_calibrated_threshold_is_good_and_none_as_good_is_cheaper(rows):
    points = make_curve(rows)
    chosen = next(point for point in points if point.tau == calibrated_tau(points, tolerance=0.05))
    best = max(point.accuracy for point in points)
    assert chosen.accuracy >= best - 0.05
    assert all(point.cost >= chosen.cost for point in points if point.accuracy >= best - 0.05)


def test_a_sure_answer_that_is_right_is_left_alone():
    rows = [(0.9, 1.0, 1.0, 1.0, 5.0), (0.8, 1.0, 1.0, 1.0, 5.0), (0.2, 0.0, 1.0, 1.0, 5.0)]
    points = make_curve(rows)
    tau = calibrated_tau(points)
    assert 0.2 < tau <= 0.8
    assert next(point.slow_share for point in points if point.tau == tau) == pytest.approx(1 / 3)


def test_columns_of_different_questions_are_refused():
    with pytest.raises(ConfigError, match="All columns must be of the same questions"):
        switch_curve([0.1], fast_scores=[1.0], slow_scores=[], fast_costs=[1.0], slow_costs=[1.0])
    with pytest.raises(ConfigError, match="There must be a point"):
        calibrated_tau([])


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What colour is the star?", ["star"]),
        ("What colour is the small flag on the boat?", ["small flag", "boat"]),
        ("Is the star left or right of the ring?", ["star", "ring"]),
        ("Is the dog on the left side of the picture?", ["dog"]),
        ("What is the material of the glove?", ["glove"]),
        ("Is there an umbrella?", ["umbrella"]),
        ("How many?", []),
        ("", []),
    ],
)
def test_what_a_question_names(question, names):
    assert question_objects(question) == names
