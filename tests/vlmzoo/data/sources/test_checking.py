"""Checking a source: counts that can be counted by hand, and faults by kind."""

import io

import pytest
from PIL import Image

from vlmzoo.data.checking import Spread, check_source, rows_to_check
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant, user


class Listed:
    """A source of samples, some of which are errors."""

    def __init__(self, samples, size=None):
        self.samples = samples
        self.size = len(samples) if size is None else None

    def sample(self, position):
        found = self.samples[position % len(self.samples)]
        if isinstance(found, Exception):
            raise found
        return found


def sample(id="x", text="q", answer="abc", images=()):
    messages = [user(text, num_images=len(images)), *([assistant(answer)] if answer else [])]
    return Sample(messages=messages, images=list(images), id=id)


def test_rows_turns_texts_images_and_ids_are_counted(folder):
    wide = Image.new("RGB", (40, 10))
    rows = [
        sample("a", images=[folder / "a.png", wide]),
        sample("b", answer=""),
        sample("a", "long question"),
        sample("a"),
    ]
    found = check_source(Listed(rows)).to_dict()
    assert (found["num_rows"], found["num_faults"], found["fault_fraction"]) == (4, 0, 0)
    assert (found["num_images"], found["num_with_images"], found["num_without_answer"]) == (2, 1, 1)
    assert (found["num_repeated_ids"], found["repeated_ids"]) == (2, ["a"])
    assert found["turns"] == {"user": 4, "assistant": 3}
    assert (found["text_lengths"]["user"]["min"], found["text_lengths"]["user"]["max"]) == (1, len("long question"))
    assert found["text_lengths"]["assistant"]["mean"] == 3
    assert (found["image_sides"]["min"], found["image_sides"]["max"]) == (8, 40)
    assert (found["turns_per_row"]["min"], found["turns_per_row"]["max"]) == (1, 2)


def test_faults_are_counted_by_kind_with_the_first_of_each(write):
    rows = [
        {"id": str(i), "image": name, "conversations": [{"from": who, "value": "q"}]}
        for i, (name, who) in enumerate(
            [*[("none.png", "human")] * 5, ("broken.png", "human"), (None, "robot"), ("a.png", "human")]
        )
    ]
    found = check_source(SOURCES.build({"type": "llava_json", "path": write(rows)}))
    assert found.faults == {"missing image": 5, "broken image": 1, "unknown role": 1}
    assert found.fault_fraction == 7 / 8
    assert [sentence.split("`")[1].rpartition("/")[2] for sentence in found.first_faults["missing image"]] == [
        "data.json"
    ] * 3
    assert [
        "(id `0`)" in found.first_faults["missing image"][0],
        "(id `2`)" in found.first_faults["missing image"][2],
    ] == [True, True]


def test_images_of_any_source_are_checked_against_their_blocks(folder):
    rows = [
        Sample(messages=[user("q", num_images=2)], images=[folder / "a.png"], id="few"),
        Sample(messages=[{"role": "user", "content": "plain"}], id="plain"),
        DataError("another source's fault"),
    ]
    found = check_source(Listed(rows))
    assert found.faults == {"image count": 1, "other": 1}
    assert found.text_lengths["user"].values == [5]


def test_decoding_finds_an_image_that_is_cut_off(folder):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    (folder / "cut.png").write_bytes(whole.getvalue()[:2000])
    source = Listed([sample(images=[folder / "cut.png"])])
    assert not check_source(source).faults
    found = check_source(source, decode=True)
    assert found.faults == {"broken image": 1}
    assert "cut.png" in found.first_faults["broken image"][0]


def test_good_rows_are_handed_on_in_order_and_may_still_be_refused():
    kept = []

    def keep(row):
        if row.id == "c":
            raise DataError("no")
        kept.append(row.id)

    found = check_source(Listed([sample("a"), DataError("x"), sample("b"), sample("c")]), keep=keep)
    assert (kept, found.num_faults) == (["a", "b"], 2)


@pytest.mark.parametrize(
    ("size", "num", "expected"), [(5, None, 5), (5, 3, 3), (5, 9, 5), (None, None, 1000), (None, 3, 3)]
)
def test_all_rows_are_read_where_there_is_an_end(size, num, expected):
    source = Listed([sample()] * 5, size)
    source.size = size
    assert rows_to_check(source, num) == check_source(source, num=num).num_rows == expected


def test_a_spread_of_nothing_is_empty_and_of_one_value_is_that_value():
    assert Spread().to_dict() == {}
    assert set(Spread([7]).to_dict().values()) == {1, 7}
