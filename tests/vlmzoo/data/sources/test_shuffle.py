"""Shuffling by arithmetic is shuffling: each element once, and all orders alike."""

import math
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.sources._shuffle import shuffled


def order_of(size, key):
    return [shuffled(position, size=size, key=key) for position in range(size)]


@given(st.integers(1, 3000), st.text())
def test_every_element_comes_once(size, key):
    assert sorted(order_of(size, key)) == list(range(size))


@given(st.integers(1, 2**62), st.data())
def test_large_ranges_stay_within_their_bounds_and_apart(size, data):
    positions = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=5))
    found = [shuffled(position, size=size, key="k") for position in positions]
    assert all(0 <= place < size for place in found)
    assert len(set(found)) == len(found)


def test_all_orders_of_few_elements_are_about_as_frequent():
    size, num = 4, 6000
    counts = Counter(tuple(order_of(size, str(key))) for key in range(num))
    expected = num / math.factorial(size)
    chi_square = sum((counts[order] - expected) ** 2 / expected for order in counts)
    assert len(counts) == math.factorial(size)
    assert chi_square < 60  # 23 degrees of freedom: above 60 once in 30,000


def test_neighbours_do_not_stay_together_and_nothing_stays_in_place():
    order = order_of(10_000, "k")
    steps = [abs(after - before) for before, after in pairwise(order)]
    assert (
        abs(sum(steps) / len(steps) / (len(order) / 3) - 1) < 0.05
    )  # the mean distance of two places of a line is 1/3
    assert sum(place == position for position, place in enumerate(order)) < 10


def test_an_order_is_the_same_on_every_machine():
    assert order_of(10, "0/0/0/0") == order_of(10, "0/0/0/0")
    assert order_of(10, "0/0/0/0") != order_of(10, "0/0/0/1")
