"""LLaVA's JSON: what the records say, in the words of the format's documentation, and what is wrong with them."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.vlmzoo.data.sources.reading import names_of, turns_of
from vlmzoo.data.export import Split, export_task
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources.llava_json import LlavaJsonWriter
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant, user

TASK = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}


def record(text="<image>\nq", answer="a", **fields):
    said = [{"from": "human", "value": text}, {"from": "gpt", "value": answer}]
    return {"id": "r", "image": "a.png", "conversations": said, **fields}


def read(write, records, name="data.json", **options):
    return SOURCES.build({"type": "llava_json", "path": write(records, name), **options})


@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
def test_a_list_and_lines_say_the_same(write, folder, name):
    source = read(write, [record(), record("Q\n<image>", id=7), record("no image", image=None)], name)
    assert source.size == 3
    first, second, third = (source.sample(index) for index in range(3))
    assert turns_of(first) == [("user", "[image]\nq"), ("assistant", "a")]
    assert (first.id, first.images) == ("r", [folder / "a.png"])
    assert (second.id, turns_of(second)[0]) == ("7", ("user", "Q\n[image]"))
    assert (third.images, turns_of(third)[0]) == ([], ("user", "no image"))


def test_system_turns_several_images_and_other_fields_are_kept(write):
    said = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "<image> and <image>?"},
        {"from": "gpt", "value": "a"},
        {"from": "human", "value": "<image>\nr"},
        {"from": "gpt", "value": "b"},
    ]
    source = read(write, [{"image": ["a.png", "b.png", "a.png"], "conversations": said, "task": "t", "reference": 3}])
    sample = source.sample(0)
    assert [text for _, text in turns_of(sample)] == ["s", "[image] and [image]?", "a", "[image]\nr", "b"]
    assert [role for role, _ in turns_of(sample)] == ["system", "user", "assistant", "user", "assistant"]
    assert names_of(sample) == ["a.png", "b.png", "a.png"]
    assert (sample.id, sample.reference, sample.meta) == ("0", 3, {"task": "t"})


def test_an_image_without_a_mark_goes_first_as_in_llava(write):
    assert turns_of(read(write, [record("q")]).sample(0))[0] == ("user", "[image]\nq")


def test_relative_paths_start_from_the_folder_that_is_named(write, folder):
    (folder / "more").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "more" / "c.png")
    source = read(write, [record(image="c.png")], image_folder=str(folder / "more"))
    assert source.sample(0).images == [folder / "more" / "c.png"]


FAULTS = [
    (record(conversations=[{"from": "robot", "value": "x"}]), "unknown role", r"conversations\[0\].from` .* 'robot'"),
    (record(conversations=[{"from": "humen", "value": "x"}]), "unknown role", "Did you mean `human`"),
    ({"id": "r", "image": "a.png", "conversation": []}, "missing field", "Did you mean `conversation`"),
    (record(conversations="text"), "wrong value", "must be a list of turns .* but is 'text'"),
    (record(conversations=[]), "wrong value", "must be a list of turns"),
    (record(conversations=["text"]), "wrong value", r"`conversations\[0\]` must be"),
    (record(conversations=[{"from": "human"}]), "missing field", r"`conversations\[0\].value` must be text"),
    (record(text=3), "wrong value", r"`conversations\[0\].value` must be text, but is 3"),
    (record(image="none.png"), "missing image", r"none\.png` must exist"),
    (record(image="broken.png"), "broken image", r"broken\.png` cannot be opened"),
    (record(image=None), "image count", "0 images and 1 places"),
    (record(image=["a.png", "b.png"]), "image count", "2 images and 1 places"),
    (record(image={"x": 1}), "wrong value", "must be a path or hold bytes"),
]


@pytest.mark.parametrize(("row", "kind", "match"), FAULTS)
def test_a_fault_names_file_place_record_and_value_and_leaves_other_rows_alone(write, folder, row, kind, match):
    source = read(write, [record(id="before"), row, record(id="after")])
    with pytest.raises(RowError, match=match) as caught:
        source.sample(1)
    assert caught.value.kind == kind
    assert str(caught.value).startswith(f"Record 1 of `{folder / 'data.json'}` (id `r`): ")
    assert [source.sample(index).id for index in (0, 2)] == ["before", "after"]


def test_a_fault_travels_between_processes_whole(write):
    source = read(write, [record(image="none.png")])
    with pytest.raises(RowError) as caught:
        source.sample(0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.kind) == (str(caught.value), "missing image")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["user", "gpt", "<image>"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["from", "value", "role", "content", "type", "text", "id", "human"]), inner)
    ),
    max_leaves=10,
)
FIELDS = [
    *("id", "image", "images", "conversations", "messages", "prompt", "completion", "chosen", "system", "query"),
    *("response", "history", "instruction", "input", "output", "reward_model", "extra_info", "videos", "reference"),
]


@pytest.mark.parametrize("name", ["llava_json", "trl", "swift", "verl"])
@given(row=st.dictionaries(st.sampled_from(FIELDS), values, min_size=1))
def test_no_row_whatsoever_raises_anything_but_a_data_error(tmp_path_factory, name, row):
    path = tmp_path_factory.mktemp("fuzz") / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    source = SOURCES.build({"type": name, "path": str(path)})
    try:
        sample = source.sample(0)
    except DataError as error:
        assert str(error).startswith(f"Line 1 of `{path}`")
    else:
        json.dumps(dict(sample.meta))
        assert sample.messages


def test_rows_with_missing_images_are_left_out_or_shown_grey_where_it_is_asked_for(write, caplog):
    rows = [record(id="a"), record(id="b", image="none.png"), record(id="c", text=3)]
    source = read(write, rows, on_missing="skip")
    assert source.size == 2
    assert source.sample(0).id == "a"
    with pytest.raises(RowError, match="must be text"):
        source.sample(1)
    assert "1 of 3 rows are left out" in caplog.text
    grey = read(write, rows, on_missing="placeholder").sample(1).images[0]
    assert grey.getpixel((0, 0)) == (128, 128, 128)
    with pytest.raises(DataError, match="All 1 rows miss images, the first is Record 0"):
        read(write, rows[1:2], on_missing="skip")


def test_what_was_exported_can_be_read_back(tmp_path):
    task = TASKS.build(TASK)
    (file,) = export_task(task, Split(kinds=["image"], num=3), tmp_path)
    source = SOURCES.build({"type": "llava_json", "path": str(file)})
    assert source.size == 3
    for index in range(3):
        read_back, drawn = source.sample(index), task.sample("image", 0, index)
        assert read_back.messages == list(drawn.messages)
        assert (read_back.id, read_back.reference) == (drawn.id, drawn.reference)
        assert load_image(read_back.images[0]).tobytes() == drawn.images[0].tobytes()


texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["<image>", "a <image> b", "", "\n"])
blocks = st.lists(st.just({"type": "image"}) | texts.map(lambda text: {"type": "text", "text": text}), max_size=4)
samples = st.tuples(
    st.lists(st.tuples(blocks, texts), min_size=1, max_size=2), st.none() | st.integers(), st.booleans()
)


@pytest.mark.parametrize("name", ["clean.json", "clean.jsonl"])
@pytest.mark.parametrize("is_relative", [False, True])
@given(given_samples=st.lists(samples, min_size=1, max_size=3))
def test_what_is_written_is_read_back_as_it_was(tmp_path_factory, name, is_relative, given_samples):
    folder = tmp_path_factory.mktemp("clean")
    for colour in ("red", "blue"):
        Image.new("RGB", (4, 4), colour).save(folder / f"{colour}.png")
    rows = []
    for rounds, reference, has_meta in given_samples:
        turns = [t for asked, said in rounds for t in ({"role": "user", "content": asked}, assistant(said))]
        images = ["red.png", "blue.png"] * 4
        num = sum(block["type"] == "image" for asked, _ in rounds for block in asked)
        meta = {"extra": [1, None, "ü"]} if has_meta else {}
        rows.append({"messages": turns, "images": images[:num], "reference": reference, "id": str(len(rows)), **meta})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = SOURCES.build({"type": "trl", "path": str(folder / "rows.jsonl")})
    before = [source.sample(index) for index in range(len(rows))]
    with LlavaJsonWriter(folder / "new" / name, is_relative=is_relative) as writer:
        for sample in before:
            writer.write(sample)
    again = SOURCES.build({"type": "llava_json", "path": str(folder / "new" / name)})
    for index, sample in enumerate(before):
        found = again.sample(index)
        assert (found.messages, found.id, found.reference, found.meta) == (
            sample.messages,
            sample.id,
            sample.reference,
            sample.meta,
        )
        assert [image.resolve() for image in found.images] == [image.resolve() for image in sample.images]


def test_pictures_that_are_no_files_are_written_beside(tmp_path):
    picture = Image.effect_noise((9, 7), 60).convert("RGB")
    sample = Sample(messages=[user("q", num_images=2), assistant("a")], images=[picture, picture.rotate(90)], id="x")
    with LlavaJsonWriter(tmp_path / "clean.json", is_relative=True) as writer:
        writer.write(sample)
    found = SOURCES.build({"type": "llava_json", "path": str(tmp_path / "clean.json")}).sample(0)
    assert [load_image(image) for image in found.images] == list(sample.images)
    assert found.messages == sample.messages


def test_a_file_that_was_not_finished_does_not_appear(tmp_path):
    with pytest.raises(RuntimeError), LlavaJsonWriter(tmp_path / "clean.json") as writer:
        writer.write(Sample(messages=[user("q")], id="x"))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_name_that_the_format_needs_cannot_be_another_fields(tmp_path):
    with LlavaJsonWriter(tmp_path / "clean.json") as writer, pytest.raises(RowError, match="must leave `image`"):
        writer.write(Sample(messages=[user("q")], id="x", meta={"image": "x"}))
    assert json.loads((tmp_path / "clean.json").read_text()) == []
