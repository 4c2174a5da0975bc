"""Images of records: found wherever a format puts them, and refused in a sentence where they cannot be used."""

import base64
import io
import json

import pytest
from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._coco_json import read_coco
from vlmzoo.data.sources.pictures import PictureFinder, read_size
from vlmzoo.errors import ConfigError, DataError


def test_every_way_to_write_an_image_gives_the_same_picture(folder):
    content = (folder / "a.png").read_bytes()
    encoded = base64.b64encode(content).decode()
    noise = Image.effect_noise((64, 64), 50)
    long = io.BytesIO()
    noise.save(long, "PNG")
    finder = PictureFinder(folder)
    expected = load_image(folder / "a.png").tobytes()
    values = [
        "a.png",
        str(folder / "a.png"),
        f"file://{folder / 'a.png'}",
        f"data:image/png;base64,{encoded}",
        content,
        Image.open(folder / "a.png"),
        {"path": "a.png", "bytes": None},
        {"path": "elsewhere.png", "bytes": content},
        {"image": "a.png", "resized_height": 6},
        {"url": "a.png"},
        {"base64": encoded},
    ]
    for value in values:
        assert load_image(finder.find(value)).tobytes() == expected
    assert load_image(finder.find(base64.b64encode(long.getvalue()).decode())) == noise.convert("RGB")


def test_only_the_header_of_a_file_is_read(folder):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    (folder / "cut.png").write_bytes(whole.getvalue()[:200])
    assert PictureFinder(folder).find("cut.png") == folder / "cut.png"
    assert read_size(folder / "cut.png") == (64, 64)


@pytest.mark.parametrize(
    ("value", "kind", "match"),
    [
        ("none.png", "missing image", r"none\.png` must exist, but does not; check the path and `image_folder`"),
        ("x" * 300, "missing image", "must exist"),
        ("https://example.org/x.png", "missing image", "must be a file, but is an address; download it"),
        ("broken.png", "broken image", r"broken\.png` cannot be opened"),
        ("data.txt", "broken image", r"data\.txt` cannot be opened"),
        (b"no image", "broken image", "an image of 8 bytes, which begin b'no image', cannot be opened"),
        ("data:image/png;base64,%%%", "broken image", "in base64 cannot be decoded"),
        ("%" * 2000, "broken image", "in base64 cannot be decoded"),
        ({"path": None, "bytes": None}, "wrong value", "must be a path or hold bytes"),
        ("", "wrong value", "must be a path or hold bytes, but is '' instead"),
        ("a\0.png", "wrong value", "must be a path"),
        (None, "wrong value", "but is None instead"),
        (3, "wrong value", "but is 3 instead"),
    ],
)
def test_what_is_no_image_is_named_with_its_kind(folder, value, kind, match):
    (folder / "data.txt").write_text("text")
    with pytest.raises(RowError, match=match) as caught:
        PictureFinder(folder).find(value)
    assert caught.value.kind == kind


@pytest.mark.parametrize("way", ["../out.png", "WHOLE", "file://WHOLE", "more/../../out.png", "more/link/../out.png"])
def test_a_record_names_no_file_outside_a_folder_that_is_given(folder, tmp_path, way):
    inside, elsewhere = folder / "inside", tmp_path / "elsewhere" / "linked"
    (inside / "more").mkdir(parents=True)
    elsewhere.mkdir(parents=True)
    for place in (folder / "out.png", elsewhere.parent / "out.png", elsewhere / "a.png", inside / "more" / "a.png"):
        place.write_bytes((folder / "a.png").read_bytes())
    (inside / "more" / "link").symlink_to(elsewhere)
    confined, free = PictureFinder(inside, is_confined=True), PictureFinder(inside)
    value = way.replace("WHOLE", str(folder / "out.png"))
    with pytest.raises(RowError, match=r"must lie under the folder of images, .*; choose an `image_folder`") as caught:
        confined.find(value)
    assert caught.value.kind == "wrong value" and not confined.is_missing(value)
    assert free.find(value)
    for good in ("more/a.png", "more/../more/a.png", str(inside / "more" / "a.png"), "more/link/a.png"):
        assert confined.find(good)


@pytest.mark.parametrize("is_given", [True, False])
def test_sources_hold_their_rows_to_the_folder_that_a_config_names(folder, is_given):
    (folder / "inside").mkdir()
    row = {"image": str(folder / "a.png"), "conversations": [{"from": "human", "value": "<image>\nWhat?"}]}
    row["conversations"].append({"from": "gpt", "value": "A cup."})
    (folder / "rows.json").write_text(json.dumps([row]), encoding="utf-8")
    options = {"image_folder": str(folder / "inside")} if is_given else {}
    source = SOURCES.build({"type": "llava_json", "path": str(folder / "rows.json"), **options})
    if not is_given:
        assert source.sample(0).images  # rows of one's own may name whole paths
        return
    with pytest.raises(RowError, match="must lie under the folder of images"):
        source.sample(0)


@pytest.mark.parametrize("name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg"])
def test_annotations_in_coco_s_form_name_no_file_outside_their_folder(tmp_path, name):
    path = tmp_path / "instances.json"
    image = {"id": 7, "file_name": "a..b/x.jpg", "width": 4, "height": 4}
    path.write_text(json.dumps({"images": [image], "annotations": []}), encoding="utf-8")
    assert read_coco(path).images
    path.write_text(json.dumps({"images": [image | {"file_name": name}], "annotations": []}), encoding="utf-8")
    with pytest.raises(DataError, match=r"`file_name` of image `7` of .* must lead on from the folder of images"):
        read_coco(path)


def test_a_picture_that_is_too_large_is_refused_by_its_header(folder, monkeypatch):
    monkeypatch.setattr("vlmzoo.data.sources.pictures.MAX_PIXELS", 47)
    for value in ("a.png", (folder / "a.png").read_bytes()):
        with pytest.raises(RowError, match="must have at most 47 pixels, but has 8×6"):
            PictureFinder(folder).find(value)


def test_a_placeholder_stands_only_for_what_is_not_there(folder):
    finder = PictureFinder(folder, on_missing="placeholder")
    assert finder.find("none.png").getpixel((0, 0)) == (128, 128, 128)
    assert finder.find("a.png") == folder / "a.png"
    with pytest.raises(RowError, match="cannot be opened"):
        finder.find("broken.png")


def test_an_unknown_policy_is_refused(folder):
    with pytest.raises(ConfigError, match="`on_missing` must be one of error, skip, placeholder, but is 'ignore'"):
        PictureFinder(folder, on_missing="ignore")
