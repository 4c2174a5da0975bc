"""Pairs are written as others read them, and come back as they were."""

import json

import pytest
from PIL import Image

from vlmzoo.data.preference_files import pair_record, write_pairs
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.types import Sample, assistant, user

TWO = [{"type": "text", "text": "Image1:"}, {"type": "image"}, {"type": "text", "text": "\nImage2:"}, {"type": "image"}]


def make_pair(**changes):
    values = {
        "messages": [
            {"role": "user", "content": [*TWO, {"type": "text", "text": "\nIn Image2, which colour?"}]},
            assistant("Blue."),
        ],
        "images": [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")],
        "id": "7",
        "rejected": "Red.",
    }
    return Sample(**{**values, **changes})


def said(sample):
    return [(message["role"], list(message["content"])) for message in sample.messages]


def read(path, format):
    spec = {
        "trl": {"type": "trl", "path": str(path)},
        "tagged": {"type": "trl", "path": str(path)},
        "mia_dpo": {"type": "mia_dpo", "path": str(path)},
        "llamafactory": {"type": "llamafactory", "path": str(path.parent), "name": path.stem},
    }[format]
    return SOURCES.build(spec)


@pytest.mark.parametrize("format", ["trl", "tagged", "mia_dpo", "llamafactory"])
def test_a_pair_comes_back_as_it_was(format, tmp_path):
    path = tmp_path / ("pairs.jsonl" if format in ("trl", "tagged") else "pairs.json")
    pair = make_pair()
    assert write_pairs([pair, make_pair(id="8")], path, format=format) == 2
    source = read(path, format)
    assert source.size == 2
    sample = source.sample(0)
    assert said(sample) == said(pair)
    assert (sample.id, sample.rejected) == ("7", "Red.")
    colours = [Image.open(image).convert("RGB").getpixel((0, 0)) for image in sample.images]
    assert colours == [(255, 0, 0), (0, 0, 255)]


def test_trl_columns_keep_negative_images_and_meta(tmp_path):
    pair = make_pair(negative_images=[Image.new("RGB", (4, 4), "green")] * 2, meta={"ratio": 0.25})
    write_pairs([pair], tmp_path / "pairs.jsonl")
    sample = read(tmp_path / "pairs.jsonl", "trl").sample(0)
    assert len(sample.negative_images) == 2
    assert sample.meta == {"ratio": 0.25}


@pytest.mark.parametrize(
    ("changes", "format", "says"),
    [
        ({"rejected": None}, "trl", "two answers"),
        ({"messages": [user("Which?")]}, "trl", "two answers"),
        ({"images": []}, "trl", "0 for 2 places"),
        ({"negative_images": ["x.png", "y.png"]}, "mia_dpo", "no place for the negative images"),
        ({"messages": [user("a"), assistant("b"), user("c"), assistant("d")], "images": []}, "tagged", "one question"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(changes, format, says):
    pair = make_pair(**changes)
    with pytest.raises(DataError, match=says):
        pair_record(pair, [str(image) for image in pair.images], format, negative=list(pair.negative_images))


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="trl"):
        write_pairs([], tmp_path / "x", format="tlr")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": ["red.png"]}, "2 for 1 images"),
        ({"image": ["red.png"] * 3}, "2 for 3 images"),
        ({"rejected": None}, "rejected"),
    ],
)
def test_published_pairs_whose_tags_and_images_differ_are_named(changes, says, tmp_path):
    record = {
        "id": "0",
        "image": ["red.png", "red.png"],
        "prompt": "Image1:<image-placeholder>\nImage2:<image>\nIn Image1, which?",
        "chosen": "This.",
        "rejected": "That.",
    }
    Image.new("RGB", (2, 2)).save(tmp_path / "red.png")
    (tmp_path / "pairs.json").write_text(json.dumps([{**record, **changes}]))
    with pytest.raises(RowError, match=says):
        read(tmp_path / "pairs.json", "mia_dpo").sample(0)
