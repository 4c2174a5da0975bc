"""Sources give the same conversation at the same position, and name what is wrong with a file."""

import json

import pytest

from vlmzoo.data.export import export_task
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, STRETCH
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError, DataError

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


def test_what_was_exported_can_be_read_back(tmp_path):
    task = TASKS.build(TASK)
    paths = export_task(task, kinds=["image"], num=3, seed=0, out_dir=tmp_path)
    (file,) = [path for path in paths if path.suffix == ".json"]
    source = SOURCES.build({"type": "llava_json", "path": str(file)})
    assert source.size == 3
    for index in range(3):
        read, drawn = source.sample(index), task.sample("image", 0, index)
        assert read.messages == list(drawn.messages)
        assert load_image(read.images[0]).tobytes() == drawn.images[0].tobytes()


def test_faulty_files_name_themselves(tmp_path):
    missing = {"type": "llava_json", "path": str(tmp_path / "none.json")}
    with pytest.raises(DataError, match=r"none\.json` does not exist"):
        SOURCES.build(missing)
    broken = tmp_path / "broken.json"
    broken.write_text("[{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        SOURCES.build({"type": "llava_json", "path": str(broken)})
    broken.write_text("{}")
    with pytest.raises(DataError, match="must hold a list of records, but holds dict"):
        SOURCES.build({"type": "llava_json", "path": str(broken)})
    broken.write_text(json.dumps([{"id": "a", "conversations": [{"from": "robot", "value": "x"}]}, {"id": "b"}]))
    source = SOURCES.build({"type": "llava_json", "path": str(broken)})
    with pytest.raises(DataError, match="Record `a`.*'robot'"):
        source.sample(0)
    with pytest.raises(DataError, match="Record `b`.*'conversations'"):
        source.sample(1)
