"""verl's rows: prompts for rollouts, with the truth as the reference."""

import pytest

from tests.vlmzoo.data.sources.reading import names_of, turns_of
from vlmzoo.data.sources import SOURCES, RowError

ROW = {
    "data_source": "owner/pairs",
    "prompt": [{"role": "user", "content": "<image>\n<image>\n\nThe same?"}],
    "images": [{"image": "a.png", "resized_height": 6, "resized_width": 8}, {"path": "b.png", "bytes": None}],
    "ability": "vision",
    "reward_model": {"style": "rule", "ground_truth": "no"},
    "extra_info": {"index": 12, "split": "train"},
}


def read(write, row, **options):
    return SOURCES.build({"type": "verl", "path": write([row], "data.jsonl"), **options}).sample(0)


def test_a_row_is_a_prompt_with_its_reference(write):
    sample = read(write, ROW)
    assert turns_of(sample) == [("user", "[image]\n[image]\n\nThe same?")]
    assert [block.get("text") for block in sample.messages[0]["content"]] == [None, "\n", None, "\n\nThe same?"]
    assert names_of(sample) == ["a.png", "b.png"]
    assert (sample.id, sample.reference) == ("12", "no")
    assert {name: sample.meta[name] for name in ("data_source", "ability", "extra_info")} == {
        name: ROW[name] for name in ("data_source", "ability", "extra_info")
    }


def test_plain_prompts_under_other_names_are_read_too(write):
    row = {"problem": "<image>How many?", "answer": "3", "images": ["a.png"]}
    sample = read(write, row, columns={"prompt": "problem"}, reference="answer")
    assert turns_of(sample) == [("user", "[image]How many?")]
    assert (sample.id, sample.reference, sample.meta) == ("0", "3", {})


def test_a_row_with_an_answer_may_be_trained_on(write):
    row = {**ROW, "prompt": [*ROW["prompt"], {"role": "assistant", "content": "No."}]}
    assert turns_of(read(write, row))[1] == ("assistant", "No.")


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"prompt": None}, "missing field", "`prompt` must be a list of turns, but is missing"),
        ({"images": ROW["images"][:1]}, "image count", "1 images and 2 places"),
        ({"images": [{"bytes": None}, "a.png"]}, "wrong value", "must be a path or hold bytes"),
        ({"videos": [{"video": "x.mp4"}]}, "wrong value", "`videos` must be empty"),
    ],
)
def test_faults_are_named(write, change, kind, match):
    with pytest.raises(RowError, match=match) as caught:
        read(write, {**ROW, **change})
    assert caught.value.kind == kind
