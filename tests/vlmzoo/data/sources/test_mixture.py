"""Mixtures: shares without drift, epochs without repetition, and everything a function of the position."""

import json
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.sources import SOURCES, STRETCH
from vlmzoo.data.sources.mixture import MixtureSource
from vlmzoo.errors import ConfigError, DataError

weights_lists = st.lists(st.integers(0, 40) | st.floats(0.2, 40), min_size=1, max_size=5).filter(any)


def make_lines(folder, sizes):
    specs = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.jsonl"
        path.write_text("".join(json.dumps({"id": str(i), "prompt": "q"}) + "\n" for i in range(size)))
        specs.append({"type": "trl", "path": str(path)})
    return specs


def make(folder, sizes, weights, **options):
    entries = [{"weight": w, "source": spec} for w, spec in zip(weights, make_lines(folder, sizes), strict=True)]
    return SOURCES.build({"type": "mixture", "sources": entries, **options})


@pytest.fixture(scope="module")
def mixture_of(tmp_path_factory):
    """Mixtures of five small sources, of which only the weights differ."""
    folder = tmp_path_factory.mktemp("mixture")
    specs = make_lines(folder, [1, 2, 3, 5, 8])

    def make_mixture(weights, **options):
        entries = [{"weight": weight, "source": spec} for weight, spec in zip(weights, specs, strict=False)]
        return MixtureSource(sources=entries, **options)

    return make_mixture


@given(weights=weights_lists, start=st.integers(0, STRETCH - 5000), length=st.integers(1, 3000), seed=st.integers(0, 3))
def test_in_any_stretch_each_source_has_its_share(mixture_of, weights, start, length, seed):
    mixture = mixture_of(weights, seed=seed)
    counts = Counter(mixture.draw(position)[0] for position in range(start, start + length))
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        block = mixture.quota.block
        bound = 2 * block * share * (1 - share) + 8  # two blocks that are cut, and rounding at the ends
        assert abs(counts[number] - length * share) <= bound


@given(weights=weights_lists, num_blocks=st.integers(0, 10**6))
def test_after_whole_blocks_the_shares_are_exact_however_long_the_run(mixture_of, weights, num_blocks):
    mixture = mixture_of(weights)
    block = mixture.quota.block
    first = num_blocks * block % (STRETCH - block)
    first -= first % block
    before = {}
    for position in range(first, first + block):
        number, count = mixture.draw(position)
        before.setdefault(number, count)
    for number, count in before.items():
        assert abs(count - first * weights[number] / sum(weights)) <= 1.001


@given(weights=weights_lists, seed=st.integers(0, 3))
def test_draws_of_a_source_are_numbered_without_a_gap(mixture_of, weights, seed):
    mixture = mixture_of(weights, seed=seed)
    drawn = Counter()
    for position in range(3 * mixture.quota.block + 7):
        number, count = mixture.draw(position)
        assert count == drawn[number]
        drawn[number] += 1
    assert all(weights[number] for number in drawn)


@pytest.mark.parametrize("start", [0, 3 * STRETCH])
@given(weights=st.lists(st.integers(1, 9), min_size=5, max_size=5), seed=st.integers(0, 3))
def test_no_row_comes_twice_before_all_of_its_source_have_come(mixture_of, start, weights, seed):
    mixture = mixture_of(weights, seed=seed)
    rows = {}
    for position in range(start, start + 100):
        name, id = mixture.sample(position).id.split("/")
        rows.setdefault(name, []).append(id)
    for name, drawn in rows.items():
        size = mixture.sources[int(name)].size
        epochs = [drawn[first : first + size] for first in range(0, len(drawn), size)]
        assert all(len(set(epoch)) == len(epoch) for epoch in epochs)


def test_epochs_seeds_and_sources_have_orders_of_their_own(tmp_path):
    entries = [{"weight": 1, "source": spec} for spec in make_lines(tmp_path, [50, 50])]
    mixture, other = (MixtureSource(sources=entries, seed=seed) for seed in (0, 1))

    def orders(source, start=0):
        drawn = {"0": [], "1": []}
        for position in range(start, start + 224):
            name, id = source.sample(position).id.split("/")
            drawn[name].append(id)
        return [tuple(values[first : first + 50]) for values in drawn.values() for first in (0, 50)]

    found = [*orders(mixture), *orders(other), *orders(mixture, STRETCH)]
    assert len(set(found)) == len(found) == 12


def test_a_position_says_the_same_in_any_order_and_in_any_process(tmp_path):
    mixture = make(tmp_path, [3, 7, 4], [1, 2.5, 0.3])
    positions = [5, 0, 99, 1000, 5 * STRETCH + 3, 12]
    expected = {position: mixture.sample(position) for position in sorted(positions)}
    again = pickle.loads(pickle.dumps(make(tmp_path, [3, 7, 4], [1, 2.5, 0.3])))
    for position in positions:
        assert again.sample(position) == expected[position]


def test_an_endless_source_goes_on_in_the_stretch_of_its_run():
    task = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}
    later = [{"from": 10, "kinds": {"image": 1}}]
    synthetic = {"type": "synthetic", "task": task, "kinds": {"text": 1}, "later": later}
    entries = [{"weight": 1, "source": synthetic, "name": "tables"}]
    mixture = SOURCES.build({"type": "mixture", "sources": entries})
    alone = SOURCES.build(synthetic)
    for start in (0, 2 * STRETCH):
        assert [mixture.sample(start + i).id for i in range(20)] == [
            f"tables/{alone.sample(start + i).id}" for i in range(20)
        ]


def test_a_mixture_may_have_an_end_and_may_be_mixed_again(tmp_path):
    specs = make_lines(tmp_path, [3, 4])
    inner = {
        "type": "mixture",
        "size": 6,
        "sources": [{"weight": 1, "source": spec, "name": n} for spec, n in zip(specs, "ab", strict=True)],
    }
    assert SOURCES.build(inner).size == 6
    outer = SOURCES.build(
        {"type": "mixture", "sources": [{"weight": 1, "source": inner}, {"weight": 1, "source": specs[0]}]}
    )
    assert outer.size is None
    ids = [outer.sample(position).id for position in range(64)]
    assert {id.rpartition("/")[0] for id in ids} == {"0/a", "0/b", "1"}
    assert sum(id.startswith("0/") for id in ids) == 32


def test_a_corrupt_row_is_the_fault_of_its_own_position_alone(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "q"}\n{"prompt": \n{"prompt": "r"}\n')
    spec = {"type": "trl", "path": str(tmp_path / "rows.jsonl")}
    mixture = SOURCES.build({"type": "mixture", "sources": [{"weight": 1, "source": spec}]})
    faults = 0
    for position in range(3):
        try:
            mixture.sample(position)
        except DataError as error:
            assert "Line 2 of" in str(error)
            faults += 1
    assert faults == 1


PLAIN = {"type": "shape_cards"}


@pytest.mark.parametrize(
    ("sources", "options", "match"),
    [
        ([], {}, "at least one of positive `weight`"),
        ([{"weight": 0, "source": PLAIN}], {}, "at least one of positive `weight`"),
        ([{"weight": -1, "source": PLAIN}], {}, r"`sources.0.weight` must be zero or more, but is -1"),
        ([{"weight": float("inf"), "source": PLAIN}], {}, "must be zero or more, but is inf"),
        ([{"weight": True, "source": PLAIN}], {}, "must be zero or more, but is True"),
        ([{"weight": 1}], {}, r"`sources.0` must have `weight` and `source`, but has weight"),
        ([{"wieght": 1, "source": PLAIN}], {}, r"`sources.0` takes no `wieght`. Did you mean `weight`"),
        (["llava_json"], {}, r"`sources.0` must be `{weight, source}`, but is 'llava_json'"),
        ([{"weight": 1, "source": PLAIN, "name": "a"}] * 2, {}, "must be its own, but they are a, a"),
        ([{"weight": 1, "source": PLAIN}], {"size": 0}, "`size` must be positive, but is 0"),
        (
            [{"weight": 1, "source": PLAIN}, {"weight": 1e-9, "source": PLAIN}],
            {},
            "must be at least 1 in 100,000 of all",
        ),
        ([{"weight": 1, "source": {}}], {}, "A source must be a mapping with a `type`"),
    ],
)
def test_what_cannot_be_mixed_is_refused(sources, options, match):
    with pytest.raises(ConfigError, match=match):
        SOURCES.build({"type": "mixture", "sources": sources, **options})
