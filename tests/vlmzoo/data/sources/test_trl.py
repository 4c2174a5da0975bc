"""TRL's columns: conversational and plain, text and blocks, as TRL itself puts images into them."""

import pytest

from tests.vlmzoo.data.sources.reading import names_of, turns_of
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import DataError

QUESTION = {"role": "user", "content": "q"}
ANSWER = {"role": "assistant", "content": "a"}
WORSE = {"role": "assistant", "content": "b"}
BLOCKS = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]}


def read(write, row, **options):
    return SOURCES.build({"type": "trl", "path": write([row], "data.jsonl"), **options}).sample(0)


@pytest.mark.parametrize(
    ("row", "turns", "images"),
    [
        ({"messages": [QUESTION, ANSWER]}, [("user", "q"), ("assistant", "a")], []),
        (
            {"messages": [QUESTION, ANSWER], "images": ["a.png", "b.png"]},
            [("user", "[image][image]q"), ("assistant", "a")],
            ["a.png", "b.png"],
        ),
        ({"messages": [BLOCKS, ANSWER], "image": "b.png"}, [("user", "[image]q"), ("assistant", "a")], ["b.png"]),
        (
            {"prompt": [QUESTION], "completion": [ANSWER], "image": "a.png"},
            [("user", "[image]q"), ("assistant", "a")],
            ["a.png"],
        ),
        (
            {"prompt": [BLOCKS], "completion": "a", "images": ["a.png"]},
            [("user", "[image]q"), ("assistant", "a")],
            ["a.png"],
        ),
        ({"prompt": "q", "completion": "a"}, [("user", "q"), ("assistant", "a")], []),
        ({"prompt": "q <image> r", "image": "a.png"}, [("user", "q [image] r")], ["a.png"]),
        ({"prompt": [QUESTION]}, [("user", "q")], []),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, [("user", "q"), ("assistant", "a")], []),
        ({"chosen": [QUESTION, ANSWER], "rejected": [QUESTION, WORSE]}, [("user", "q"), ("assistant", "a")], []),
    ],
)
def test_each_set_of_columns_is_a_conversation(write, row, turns, images):
    sample = read(write, row)
    assert turns_of(sample) == turns
    assert names_of(sample) == images
    assert sample.meta == {}
    assert sample.rejected == ("b" if "rejected" in row else None)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"chosen": [QUESTION, ANSWER], "rejected": [BLOCKS, WORSE]}, "same prompt"),
        ({"chosen": [QUESTION, ANSWER], "rejected": [QUESTION]}, "assistant's turn"),
        ({"prompt": "q", "rejected": "b"}, "better answer"),
        ({"prompt": "q", "chosen": "a", "rejected": [{"role": "assistant", "content": [{"type": "image"}]}]}, "text"),
        ({"prompt": "<image>q", "chosen": "a", "rejected": "b"}, "image for each place"),
        ({"prompt": "<image>q", "chosen": "a", "rejected": "b", "images": ["a.png", "b.png"]}, "place for each image"),
    ],
)
def test_preferences_that_do_not_fit_together_are_named(write, row, says):
    with pytest.raises(DataError, match=says):
        read(write, row)


def test_what_a_column_meta_holds_and_negative_images_come_along(write, folder):
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "image": "a.png", "negative_images": ["b.png"]}
    sample = read(write, {**row, "meta": {"ratio": 0.5}, "level": 2})
    assert (sample.meta, sample.negative_images) == ({"ratio": 0.5, "level": 2}, [folder / "b.png"])


def test_blocks_may_carry_their_images(write, folder):
    blocks = [{"type": "image", "image": "b.png"}, {"type": "text", "text": "q"}, {"type": "image", "path": "a.png"}]
    sample = read(write, {"messages": [{"role": "user", "content": blocks}, ANSWER]})
    assert sample.images == [folder / "b.png", folder / "a.png"]
    assert turns_of(sample)[0] == ("user", "[image]q[image]")


def test_columns_may_have_other_names_and_one_is_the_reference(write):
    row = {"problem": "q", "image": "a.png", "solution": "<answer>x</answer>", "level": 2}
    sample = read(write, row, columns={"prompt": "problem"}, reference="solution")
    assert turns_of(sample) == [("user", "[image]q")]
    assert (sample.reference, sample.meta) == ("<answer>x</answer>", {"level": 2})


@pytest.mark.parametrize(
    ("row", "kind", "match"),
    [
        ({"text": "t"}, "missing field", "`messages`, `prompt` or `chosen` must be there, but there is only text"),
        ({"completion": "a"}, "missing field", "there is only completion"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "unknown role", "'tool'.*turns of tools are not read"),
        ({"messages": [BLOCKS, ANSWER]}, "image count", "0 images and 1 places"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}], "image": "a.png"},
            "image count",
            "1 images and 0 places",
        ),
        (
            {"messages": [QUESTION, {"role": "assistant", "content": None, "tool_calls": []}]},
            "missing field",
            r"messages\[1\].content",
        ),
        ({"messages": [QUESTION], "videos": ["x.mp4"]}, "wrong value", "`videos` must be empty"),
    ],
)
def test_faults_are_named(write, row, kind, match):
    with pytest.raises(RowError, match=match) as caught:
        read(write, row)
    assert caught.value.kind == kind


TEXTS = [{"role": "system", "content": "s"}, QUESTION, ANSWER, {"role": "user", "content": "r"}, ANSWER]
SECOND = {"role": "user", "content": [{"type": "text", "text": "r"}, {"type": "image"}]}


@pytest.mark.parametrize(
    ("messages", "names"),
    [(TEXTS, []), (TEXTS, ["a.png", "b.png"]), ([BLOCKS, ANSWER, SECOND, ANSWER], ["b.png", "a.png"])],
)
def test_images_stand_where_trl_itself_puts_them(write, messages, names):
    trl = pytest.importorskip("trl.data_utils")
    sample = read(write, {"messages": messages, "images": names})
    images = iter(names_of(sample))
    filled = [
        {
            "role": message["role"],
            "content": [
                {**block, "image": next(images)} if block["type"] == "image" else block for block in message["content"]
            ],
        }
        for message in sample.messages
    ]
    assert filled == trl.prepare_multimodal_messages(messages, images=names)
