import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.data.balancing import BalancedOrder
from vlmzoo.errors import ConfigError, DataError

LABELS = st.lists(st.sampled_from(["yes", "no", " Yes", "NO ", "maybe"]), min_size=2, max_size=40).filter(
    lambda found: {"yes", "no"} <= {label.strip().lower() for label in found}
)


def endless(order):
    return order, (row for _ in itertools.count() for row in order)


@settings(deadline=None, max_examples=30)
@given(labels=LABELS, half=st.integers(1, 6), seed=st.integers(0, 5))
def test_every_batch_is_balanced_and_no_row_comes_again_before_its_class_is_through(labels, half, seed):
    order = BalancedOrder(labels, batch_size=2 * half, seed=seed)
    rows = [row for _ in range(3) for row in order]
    found = [labels[row].strip().lower() for row in rows]
    assert set(found) == {"yes", "no"}
    for start in range(0, len(rows), 2 * half):
        assert found[start : start + 2 * half].count("yes") == half
    for name in ("yes", "no"):  # batches are shuffled after they are drawn, so count in whole batches
        members = [row for row, label in enumerate(labels) if label.strip().lower() == name]
        for end in range(2 * half, len(rows) + 1, 2 * half):
            counts = [rows[:end].count(row) for row in members]
            assert max(counts) - min(counts) <= 1


@given(labels=LABELS, taken=st.integers(0, 60))
@settings(deadline=None, max_examples=30)
def test_an_order_goes_on_where_it_was_saved(labels, taken):
    whole, first, second = (endless(BalancedOrder(labels, batch_size=4, seed=3)) for _ in range(3))
    rows = [next(whole[1]) for _ in range(taken + 5)]
    assert [next(first[1]) for _ in range(taken)] == rows[:taken]
    second[0].load_state_dict(first[0].state_dict())
    assert [next(second[1]) for _ in range(5)] == rows[taken:]


def test_classes_may_be_several_and_have_several_names():
    labels = ["yes easy", "yes hard", "no easy", "no hard", "no hard"]
    order = BalancedOrder(labels, classes=[["yes easy", "yes hard"], "no easy", "no hard"], batch_size=6)
    assert len(order) == 6
    assert sum(labels[row] == "no hard" for row in order) == 2


def test_rows_of_no_class_are_counted():
    assert BalancedOrder(["yes", "no", "maybe", "?"], batch_size=2).left_out == {"?": 1, "maybe": 1}


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (["yes", "no"], {"batch_size": 3}, "must have a multiple of 2 rows"),
        (["yes", "yes"], {"batch_size": 2}, r"\['no'\] has none among the labels {'yes': 2}"),
        (["yes", "no"], {"batch_size": 2, "classes": ["yes"]}, "`classes` must be two or more"),
        (["yes", "no"], {"batch_size": 2, "classes": ["yes", ["no", "yes"]]}, "share no label"),
    ],
)
def test_orders_that_cannot_be_are_refused(labels, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        BalancedOrder(labels, **options)


def test_the_state_of_another_order_is_refused():
    state = BalancedOrder(["yes", "no"], batch_size=2, seed=1).state_dict()
    with pytest.raises(DataError, match="`seed` was 1 and is 2"):
        BalancedOrder(["yes", "no"], batch_size=2, seed=2).load_state_dict(state)


def test_rows_that_stand_in_are_the_others_of_the_class():
    labels = ["yes", "no", "yes", "no", "no", "yes"]
    order = BalancedOrder(labels, batch_size=2, seed=4)
    for place in range(8):
        row = order.row(place)
        others = [other for other, label in enumerate(labels) if label == labels[row] and other != row]
        assert sorted(order.stand_ins(place)) == others
        assert list(order.stand_ins(place)) == list(order.stand_ins(place))
