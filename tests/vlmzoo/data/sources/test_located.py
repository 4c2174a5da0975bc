"""Sets of boxes as SEAL's search model learns from them."""

import json
import shutil

import pytest

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    shutil.copytree(TINY / "vsm", tmp_path / "vsm")
    return tmp_path / "vsm"


def question(sample):
    assert sample.messages[1]["content"][0]["text"] == "Sure, [LOC]."
    assert len(sample.boxes) == 1
    return sample.messages[0]["content"][-1]["text"]


def changed(path, **fields):
    content = json.loads(path.read_text())
    content["annotations"][0] |= fields
    path.write_text(json.dumps(content))


def test_objects365_asks_for_one_reading_of_a_name_and_cuts_boxes_at_the_border(root):
    source = SOURCES.build({"type": "objects365", "root": str(root), "draws": 30})
    assert source.size == 30
    found = {question(source.sample(position)): source.sample(position) for position in range(30)}
    names = {f"Please locate the {name} in this image." for name in ("person", "picture", "frame")}
    assert set(found) == names
    assert found["Please locate the frame in this image."].boxes[0][0].xywh == (6, 2, 6, 4)
    with pytest.raises(DataError, match="All images under .* must exist, but 1 of 2 do not"):
        SOURCES.build({"type": "objects365", "root": str(root), "on_missing": "error"})


def test_goldg_joins_boxes_with_captions_file_by_file(root):
    mixed, flickr = (
        SOURCES.build({"type": "goldg", "root": str(root), "part": part, "draws": 12}) for part in ("mixed", "flickr")
    )
    found = {question(mixed.sample(position)): mixed.sample(position).boxes[0] for position in range(12)}
    assert {name: [box.xywh for box in boxes] for name, boxes in found.items()} == {
        "Please locate the red cup in this image.": [(1, 1, 3, 3)],
        "Please locate the dog in this image.": [(6, 3, 3, 3)],
    }
    assert question(flickr.sample(0)) == "Please locate the Two friends in this image."
    assert flickr.sample(0).boxes[0][0].xywh == (2, 2, 5, 5)


def test_masks_become_heat_maps_and_boxes():
    plain = {"type": "refer_seg", "root": str(TINY / "lisa"), "dataset": "refcoco"}
    source, masks = SOURCES.build({"type": "located", "source": plain}), SOURCES.build(plain)
    sample, with_mask = source.sample(0), masks.sample(0)
    assert question(sample) == f"Please locate the {with_mask.meta['phrases'][0]} in this image."
    assert list(sample.heat_masks) == list(with_mask.masks) and not sample.masks
    assert sample.boxes[0][0] == with_mask.masks[0].box()
    other = SOURCES.build({"type": "located", "source": {"type": "llava_json", "path": str(TINY / "llava.json")}})
    with pytest.raises(RowError, match="must have a mask for each phrase, but has 0 and 0"):
        other.sample(0)


def test_what_cannot_be_read_is_told(root):
    file = root / "object365" / "zhiyuan_objv2_train.json"
    changed(file, bbox=[1, 2])
    with pytest.raises(RowError, match="annotation `1` must have a listed class and a box of four numbers"):
        SOURCES.build({"type": "objects365", "root": str(root)}).sample(0)
    mixed = root / "MixedGrounding" / "final_mixed_train.json"
    changed(mixed, tokens_positive=[[90, 95]])
    with pytest.raises(RowError, match="must have `bbox` and `tokens_positive` within its caption of 13 characters"):
        SOURCES.build({"type": "goldg", "root": str(root)}).sample(0)
    with pytest.raises(ConfigError, match="`part` must be mixed or flickr, but is 'gold'"):
        SOURCES.build({"type": "goldg", "root": str(root), "part": "gold"})
    with pytest.raises(ConfigError, match="`draws` must be at least 1"):
        SOURCES.build({"type": "goldg", "root": str(root), "draws": 0})


def test_images_without_any_box_give_way(root):
    file = root / "object365" / "zhiyuan_objv2_train.json"
    content = json.loads(file.read_text())
    content["annotations"] = [{**one, "bbox": [50, 50, 2, 2]} for one in content["annotations"]]
    file.write_text(json.dumps(content))
    with pytest.raises(RowError, match="have nothing to look for"):
        SOURCES.build({"type": "objects365", "root": str(root)}).sample(0)
