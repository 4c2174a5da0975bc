import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.components import connected_components, split_components
from vlmzoo.errors import ConfigError, DataError

LINKS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(LINKS)
def test_components_are_what_links_reach(links):
    found = connected_components(20, links)
    reached = [{node} for node in range(20)]
    for _ in range(20):
        for one, other in links:
            reached[one] |= reached[other]
            reached[other] |= reached[one]
    for one in range(20):
        for other in range(20):
            assert (found[one] == found[other]) == (other in reached[one])


@given(sizes=st.lists(st.integers(1, 5), min_size=40, max_size=80), seed=st.integers(0, 3))
def test_splits_come_near_to_their_shares(sizes, seed):
    names = split_components(sizes, {"train": 0.8, "test": 0.2}, seed=seed)
    test = sum(size for size, name in zip(sizes, names, strict=True) if name == "test")
    assert abs(test - 0.2 * sum(sizes)) <= 5
    assert names == split_components(sizes, {"train": 0.8, "test": 0.2}, seed=seed)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DataError, match=r"1 components, of which the largest is 100%"):
        split_components([7], {"train": 0.9, "test": 0.1}, seed=0)
    with pytest.raises(ConfigError, match="`splits` must have shares"):
        split_components([1, 1], {"train": 1.0, "test": -0.1}, seed=0)
