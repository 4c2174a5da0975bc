"""OViP's records: the first image is asked about, the second contradicts the better answer."""

import json

import pytest
from PIL import Image

from vlmzoo.data.sources import SOURCES, RowError

RECORD = {
    "conversations": [{"from": "human", "value": "<image>\nWhich?"}],
    "chosen": {"from": "gpt", "value": "This."},
    "rejected": {"from": "gpt", "value": "That."},
    "images": ["a.png", "b.png"],
}


def read(folder, **changes):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (2, 2)).save(folder / name)
    (folder / "data.json").write_text(json.dumps([{**RECORD, **changes}]))
    return SOURCES.build({"type": "ovip_pairs", "path": str(folder / "data.json")}).sample(0)


def test_the_second_image_is_the_negative_one(tmp_path):
    sample = read(tmp_path)
    assert [image.name for image in sample.images] == ["a.png"]
    assert [image.name for image in sample.negative_images] == ["b.png"]
    assert (sample.rejected, len(sample.messages)) == ("That.", 2)
    assert read(tmp_path, images=["a.png"]).negative_images == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": ["a.png"] * 3}, "holds 3"),
        ({"images": []}, "holds 0"),
        ({"rejected": {"from": "gpt"}}, "rejected"),
        ({"images": ["a.png", "none.png"]}, "none.png"),
        ({"conversations": [{"from": "human", "value": "<image>Which?<image>"}]}, "image for each place"),
    ],
)
def test_records_that_do_not_fit_are_named(tmp_path, changes, says):
    with pytest.raises(RowError, match=says):
        read(tmp_path, **changes)
