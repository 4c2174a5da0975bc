import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.config import RunConfig
from vlmzoo.config.merging import inner_schema, merge
from vlmzoo.config.schema import HubConfig, ScheduleConfig

keys = st.sampled_from(["a", "b", "c"])
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
mappings = st.dictionaries(keys, values, max_size=3)


@given(mappings)
def test_nothing_laid_over_a_mapping_leaves_it(below):
    assert merge(below, {}) == below


@given(mappings)
def test_a_mapping_laid_over_nothing_is_itself(above):
    assert merge({}, above) == above


@given(mappings)
def test_a_mapping_laid_over_itself_is_itself(mapping):
    assert merge(mapping, mapping) == mapping


@given(mappings, mappings)
def test_what_lies_above_is_found_in_the_result_and_nothing_is_changed(below, above):
    before = copy.deepcopy((below, above))
    merged = merge(below, above)
    assert (below, above) == before
    assert merge(merged, above) == merged
    assert merged.keys() == below.keys() | above.keys()


def test_the_schema_under_a_key_is_found_through_optional_and_mappings():
    assert inner_schema(inner_schema(RunConfig, "optim"), "schedule") is ScheduleConfig
    assert inner_schema(inner_schema(RunConfig, "hub"), "repo_id") is HubConfig.model_fields["repo_id"].annotation
    assert inner_schema(inner_schema(RunConfig, "experience"), "type") is None
    assert inner_schema(RunConfig, "unknown") is None


def test_another_type_starts_anew_in_a_run_too():
    below = {"experience": {"type": "rollouts", "num_prompts": 4}, "optim": {"learning_rate": 1.0}}
    above = {"experience": {"type": "supervised", "seed": 1}, "optim": {"weight_decay": 0.1}}
    merged = merge(below, above, RunConfig)
    assert merged["experience"] == {"type": "supervised", "seed": 1}
    assert merged["optim"] == {"learning_rate": 1.0, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"path": "a/b", "revision": "v1", "dtype": "x"}, {"name": "n"}, {"name": "n", "dtype": "x"}),
        ({"name": "n", "pretrained": True, "architecture": {"a": 1}}, {"path": "a/b"}, {"path": "a/b"}),
        ({"path": "a/b"}, {"architecture": {"a": 1}}, {"architecture": {"a": 1}}),
        ({"architecture": {"a": 1}}, {"name": "n"}, {"name": "n"}),
        # an architecture beside a name is laid over the card, whichever came first
        ({"name": "n", "architecture": {"a": 1}}, {"name": "m"}, {"name": "m", "architecture": {"a": 1}}),
        (
            {"name": "n", "architecture": {"a": 1}},
            {"architecture": {"b": 2}},
            {"name": "n", "architecture": {"a": 1, "b": 2}},
        ),
        # what says nothing of the source displaces nothing, nor does null
        ({"path": "a/b"}, {"dtype": "x"}, {"path": "a/b", "dtype": "x"}),
        ({"path": "a/b"}, {"name": None}, {"path": "a/b", "name": None}),
        ({"name": "n"}, {"path": "a/b", "name": "m"}, {"path": "a/b", "name": "m"}),  # a fault, which is told
    ],
)
def test_the_later_way_of_naming_a_model_replaces_the_earlier(below, above, merged):
    assert merge({"model": below}, {"model": above}, RunConfig) == {"model": merged}
