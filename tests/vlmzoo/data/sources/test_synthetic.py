"""The synthetic source gives the same conversation at the same position, phase by phase."""

from types import SimpleNamespace

import pytest

from vlmzoo.data.sources import SOURCES, STRETCH
from vlmzoo.data.synthetic._checks import chain_options
from vlmzoo.errors import ConfigError

TASK = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}


def test_a_synthetic_source_is_a_function_of_seed_and_position():
    spec = {"type": "synthetic", "task": TASK, "kinds": {"text": 1, "image": 1}}
    first, again = SOURCES.build(spec), SOURCES.build(spec)
    other = SOURCES.build(spec | {"seed": 1})
    assert [first.sample(i).id for i in range(20)] == [again.sample(i).id for i in range(20)]
    assert [first.sample(i).messages for i in range(20)] != [other.sample(i).messages for i in range(20)]
    assert {first.sample(i).meta["kind"] for i in range(50)} == {"text", "image"}


def test_a_kind_of_weight_zero_never_comes():
    source = SOURCES.build({"type": "synthetic", "task": TASK, "kinds": {"text": 0, "image": 2}})
    assert {source.sample(i).meta["kind"] for i in range(30)} == {"image"}


def test_kinds_that_cannot_be_drawn_are_refused():
    for kinds, match in (
        ({"txt": 1}, "Did you mean `text`"),
        ({"text": 0}, "positive"),
        ({"text": -1}, "zero or more"),
    ):
        with pytest.raises(ConfigError, match=match):
            SOURCES.build({"type": "synthetic", "task": TASK, "kinds": kinds})


def test_later_phases_take_over_at_their_position_in_every_run():
    later = [{"from": 10, "kinds": {"image": 1}}]
    source = SOURCES.build({"type": "synthetic", "task": TASK, "kinds": {"text": 1}, "later": later})
    for start in (0, STRETCH, 2 * STRETCH):
        kinds = [source.sample(start + i).meta["kind"] for i in range(20)]
        assert kinds == ["text"] * 10 + ["image"] * 10


def test_phases_that_cannot_be_are_refused():
    for later, match in (
        ([{"from": 0, "kinds": {"text": 1}}], "growing positions above 0"),
        ([{"from": 9, "kinds": {"text": 1}}, {"from": 5, "kinds": {"text": 1}}], "growing positions"),
        ([{"kinds": {"text": 1}}], "must have `from` and `kinds`"),
        ([{"from": 9, "kinds": {"txt": 1}}], "Did you mean `text`"),
    ):
        with pytest.raises(ConfigError, match=match):
            SOURCES.build({"type": "synthetic", "task": TASK, "kinds": {"text": 1}, "later": later})


def test_targets_can_have_part_of_a_chain_of_thought_or_none():
    def target(**chain):
        source = SOURCES.build({"type": "synthetic", "task": TASK, "kinds": {"text": 1}, **chain})
        return source.sample(0).messages[1]["content"][0]["text"]

    whole, none = target(), target(cot=False)
    assert target(keep=0) == none == whole[-len(none) :]
    assert len(none) < len(target(keep=0.5)) < len(whole)
    assert target(cot_style="template") in whole
    with pytest.raises(ConfigError, match="`cot_style` must be one of `standard`, `template`, `order`"):
        target(cot_style="value")
    with pytest.raises(ConfigError, match="`keep` must be a share"):
        target(keep=2)


def test_the_chain_of_a_task_that_has_none_to_cut_is_left_as_it_is():
    task = SimpleNamespace(name="plain")  # of a plug-in, say
    assert chain_options(task, cot=False, keep=1.0, cot_style="standard") == {"cot": False}
    with pytest.raises(ConfigError, match="`keep` must be left out with `plain`, but is 0.5"):
        chain_options(task, cot=True, keep=0.5, cot_style="standard")


def test_the_thought_of_a_scene_can_be_cut():
    task = {"type": "shape_scenes", "num_objects": 5, "num_colors": 3, "num_shapes": 3}
    spec = {"type": "synthetic", "task": task, "kinds": {"image": 1}}
    said = [
        SOURCES.build({**spec, **chain}).sample(0).messages[-1]["content"][0]["text"]
        for chain in ({"cot": False}, {"keep": 0.5}, {})
    ]
    assert len(said[0]) < len(said[1]) < len(said[2])
