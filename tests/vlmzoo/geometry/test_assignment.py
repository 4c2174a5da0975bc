"""Laws of the cheapest assignment."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import DataError
from vlmzoo.geometry.assignment import assign

shapes = st.integers(0, 4).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(max(rows, 1), 6)))


@given(shape=shapes, seed=st.integers(0, 10_000), is_tied=st.booleans())
def test_no_other_assignment_is_cheaper(shape, seed, is_tied):
    random = np.random.default_rng(seed)
    costs = random.integers(-3, 4, shape) if is_tied else random.integers(-160, 160, shape) / 16
    columns = assign(costs)
    assert len(set(columns.tolist())) == shape[0]
    found = sum(costs[row, column] for row, column in enumerate(columns))
    others = itertools.permutations(range(shape[1]), shape[0])
    assert found == min(sum(costs[row, column] for row, column in enumerate(other)) for other in others)


def test_many_columns_are_no_trouble():
    costs = np.random.default_rng(0).random((20, 2304))
    costs[np.arange(20), np.arange(20) * 100] = -1.0
    assert assign(costs).tolist() == [number * 100 for number in range(20)]


@pytest.mark.parametrize("costs", [np.zeros((3, 2)), np.array([[0.0, np.nan]]), np.zeros(3)])
def test_what_cannot_be_assigned_is_refused(costs):
    with pytest.raises(DataError, match="`costs` must be finite, with no more rows than columns"):
        assign(costs)
