"""LlamaFactory's data sets: `dataset_info.json` says where the fields are, and unnamed ones are not read."""

import json

import pytest

from tests.vlmzoo.data.sources.reading import names_of, turns_of
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import ConfigError, DataError

SAID = [("user", "[image]q"), ("assistant", "a")]
OPENAI_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


@pytest.fixture
def read(write, folder):
    def read_first(row, name="mine", **entry):
        write([row], "rows.json")
        info = {"mine": {"file_name": "rows.json", **entry}, "other": {}}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        return SOURCES.build({"type": "llamafactory", "path": str(folder), "name": name}).sample(0)

    return read_first


def test_alpaca_is_the_default(read):
    row = {"instruction": "q", "input": "more", "output": "a", "system": "not named"}
    sample = read(row)
    assert turns_of(sample) == [("user", "q\nmore"), ("assistant", "a")]
    assert sample.meta == {"system": "not named"}


def test_columns_of_alpaca_are_mapped(read):
    row = {"ask": "<image>q", "say": "a", "sys": "s", "before": [["p", "o"]], "pic": ["a.png"], "note": 1}
    columns = {"prompt": "ask", "response": "say", "system": "sys", "history": "before", "images": "pic"}
    sample = read(row, columns=columns)
    assert turns_of(sample) == [("system", "s"), ("user", "p"), ("assistant", "o"), *SAID]
    assert (names_of(sample), sample.meta) == (["a.png"], {"note": 1})


def test_sharegpt_has_the_documented_defaults(read):
    row = {
        "conversations": [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}],
        "images": ["a.png"],
    }
    assert turns_of(read(row, formatting="sharegpt", columns={"images": "images"})) == SAID


@pytest.mark.parametrize(("formatting", "tags"), [("sharegpt", OPENAI_TAGS), ("openai", {})])
def test_messages_in_openai_form_are_read_by_their_tags(read, formatting, tags):
    row = {
        "messages": [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "a"}],
        "images": ["a.png"],
    }
    columns = {"messages": "messages", "images": "images", "system": "system"}
    sample = read({**row, "system": "s"}, formatting=formatting, columns=columns, tags=tags)
    assert turns_of(sample) == [("system", "s"), *SAID]


def test_a_system_turn_goes_before_the_column(read):
    row = {"conversations": [{"from": "system", "value": "turn"}, {"from": "human", "value": "q"}], "system": "column"}
    sample = read(row, formatting="sharegpt", columns={"messages": "conversations", "system": "system"})
    assert turns_of(sample) == [("system", "turn"), ("user", "q")]


def test_of_a_preference_the_better_answer_is_said_and_the_worse_kept(read):
    asked = {"conversations": [{"from": "human", "value": "q"}]}
    answers = {"chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    sample = read({**asked, **answers}, formatting="sharegpt", ranking=True, columns=columns)
    assert (turns_of(sample)[1], sample.rejected, sample.meta) == (("assistant", "a"), "b", {})
    row = {"instruction": "q", "chosen": "a", "rejected": "b"}
    sample = read(row, ranking=True, columns={"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"})
    assert (turns_of(sample)[1], sample.rejected, sample.meta) == (("assistant", "a"), "b", {})


@pytest.mark.parametrize(
    ("row", "entry", "kind", "match"),
    [
        ({"output": "a"}, {}, "missing field", "`instruction` must be text, but is missing; the record has output"),
        ({"instruction": ["q"]}, {}, "wrong value", r"`instruction` must be text, but is \['q'\]"),
        (
            {"conversations": [{"from": "observation", "value": "x"}]},
            {"formatting": "sharegpt"},
            "unknown role",
            "'observation'",
        ),
        ({"instruction": "<image>q", "images": ["a.png"]}, {}, "image count", "0 images and 1 places"),
        (
            {"instruction": "q", "videos": ["x.mp4"]},
            {"columns": {"prompt": "instruction", "videos": "videos"}},
            "wrong value",
            "`videos` must be empty",
        ),
    ],
)
def test_faults_of_rows_are_named(read, row, entry, kind, match):
    with pytest.raises(RowError, match=match) as caught:
        read(row, **entry)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"name": "mein"}, "has no data set `mein`. Did you mean `mine`. Known: mine, other"),
        ({"formatting": "sharegbt"}, "must be alpaca, sharegpt or openai, but is 'sharegbt'"),
        ({"file_name": None}, "must have a `file_name` or an `hf_hub_url`"),
        ({"num_samples": 10}, "must have no `num_samples`"),
        ({"columns": {"response": "output"}}, "must name `prompt` or `query`, but names response"),
    ],
)
def test_entries_that_cannot_be_followed_are_refused(read, entry, match):
    with pytest.raises(ConfigError, match=match):
        read({"instruction": "q"}, **entry)


def test_files_that_are_not_there_or_broken_are_named(folder, read):
    with pytest.raises(DataError, match=r"none\.json` does not exist"):
        read({}, file_name="none.json")
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset_info\.json` must be a JSON file of data sets"):
        SOURCES.build({"type": "llamafactory", "path": str(folder), "name": "mine"})
