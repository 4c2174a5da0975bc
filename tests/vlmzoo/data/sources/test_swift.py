"""ms-swift's forms: the four that its documentation shows give the same conversation."""

import pytest

from tests.vlmzoo.data.sources.reading import names_of, turns_of
from vlmzoo.data.sources import SOURCES, RowError

EXPECTED = [("system", "s"), ("user", "[image]q"), ("assistant", "a"), ("user", "[image]r"), ("assistant", "b")]
MESSAGES = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "<image>q"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "<image>r"},
    {"role": "assistant", "content": "b"},
]
SHAREGPT = [{"human": "<image>q", "assistant": "a"}, {"human": "<image>r", "assistant": "b"}]
FROM = [{"from": m["role"], "value": m["content"]} for m in MESSAGES[1:]]


def read(write, row, **options):
    return SOURCES.build({"type": "swift", "path": write([row], "data.jsonl"), **options}).sample(0)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": MESSAGES},
        {"system": "s", "messages": MESSAGES[1:]},
        {"system": "s", "conversation": SHAREGPT},
        {"system": "s", "conversations": FROM},
        {"system": "s", "query": "<image>r", "response": "b", "history": [["<image>q", "a"]]},
        {"system": "s", "instruction": "<image>r", "input": "", "output": "b", "history": [["<image>q", "a"]]},
    ],
)
def test_all_forms_say_the_same(write, row):
    sample = read(write, {**row, "images": ["a.png", "b.png"]})
    assert turns_of(sample) == EXPECTED
    assert names_of(sample) == ["a.png", "b.png"]
    assert sample.meta == {}


def test_instruction_and_input_stand_one_under_the_other(write):
    assert turns_of(read(write, {"instruction": "q", "input": "r", "output": "a"}))[0] == ("user", "q\nr")


def test_boxes_and_what_is_rejected_are_left_as_they_are(write):
    objects = {"ref": ["sheep"], "bbox": [[90.9, 160.8, 135, 212.8]], "bbox_type": "real"}
    left = {"objects": objects, "rejected_response": "n", "rejected_images": ["b.png"], "solution": "x", "label": True}
    said = [{"role": "user", "content": "<image>Find the <ref-object>"}, {"role": "assistant", "content": "<bbox>"}]
    sample = read(write, {"messages": said, "images": ["a.png"], **left})
    assert turns_of(sample) == [("user", "[image]Find the <ref-object>"), ("assistant", "<bbox>")]
    assert sample.meta == left


def test_a_prompt_without_an_answer_ends_with_the_user(write):
    sample = read(write, {"messages": MESSAGES[:2], "images": ["a.png"], "solution": "x"}, reference="solution")
    assert turns_of(sample) == EXPECTED[:2]
    assert sample.reference == "x"


@pytest.mark.parametrize(
    ("row", "kind", "match"),
    [
        ({"messages": [{"role": "tool_call", "content": "{}"}]}, "unknown role", "'tool_call'"),
        (
            {"messages": [MESSAGES[1], {**MESSAGES[2], "loss": False}], "images": ["a.png"]},
            "wrong value",
            r"messages\[1\].loss",
        ),
        ({"conversation": [{"human": "q"}]}, "missing field", "`assistant` must be text"),
        ({"conversation": [{"human": "q", "assistant": "a"}, "x"]}, "wrong value", r"`conversation\[1\]` must be"),
        ({"query": "q", "history": [["one"]]}, "wrong value", "`history` must be pairs"),
        ({"label": 1}, "missing field", "`instruction` must be text, but is missing; the record has label"),
        ({"messages": MESSAGES, "images": ["a.png"]}, "image count", "1 images and 2 places"),
        ({"messages": MESSAGES, "images": ["a.png", "b.png"], "audios": ["x.wav"]}, "wrong value", "`audios` must be"),
    ],
)
def test_faults_are_named(write, row, kind, match):
    with pytest.raises(RowError, match=match) as caught:
        read(write, row)
    assert caught.value.kind == kind
