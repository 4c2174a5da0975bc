"""Collages and pictures in pictures, to the pixel."""

import numpy as np
import pytest
from PIL import Image

from vlmzoo.data.mia.attention import region_weights
from vlmzoo.data.mia.pictures import compose_grid, compose_pic_in_pic, grid_layout, inner_box, read_grid_shape
from vlmzoo.errors import DataError
from vlmzoo.geometry import Box, Frame

GOLDEN = ("mia_dpo", "geometry.jsonl")
SIDE = 24
RED = (255, 0, 0)


def is_refused(content):
    """Whether there is no such collage, for the authors as for us."""
    return content["error"] is not None and content["label"] == "ok"


@pytest.mark.golden_cases("grid")
def test_grid_is_the_authors(golden):
    content = golden.content
    if is_refused(content):
        with pytest.raises(DataError, match="num_images"):
            grid_layout(content["n"])
        return
    layout = grid_layout(content["n"])
    count = range(content["n"])
    assert [list(layout.tile_box(index)) for index in count] == content["tile_boxes"]
    assert [list(layout.label_place(index)) for index in count] == content["label_xy"]
    boxes = [list(layout.content_box(index, size)) for index, size in enumerate(content["sizes_wh"])]
    if content["label"] == "bug":  # theirs raises where a side vanishes
        assert all(x1 > x0 and y1 > y0 for x0, y0, x1, y1 in boxes)
        return
    assert list(layout.size) == content["output"]["canvas"]
    visible = [box for box in content["output"]["content_boxes"] if box is not None]
    assert all(box in boxes for box in visible)
    assert len(visible) == len(boxes) or None in content["output"]["content_boxes"]


@pytest.mark.golden_cases("grid", where=lambda content: not is_refused(content))
def test_grid_is_drawn_where_it_says(golden):
    content = golden.content
    images = [Image.new("RGB", size, RED) for size in content["sizes_wh"]]
    layout = grid_layout(content["n"])
    drawn = np.asarray(compose_grid(images))
    for index, image in enumerate(images):
        left, top, right, bottom = layout.content_box(index, image.size)
        assert (drawn[top:bottom, left:right] == RED).all()
        tile = layout.tile_box(index)
        assert (drawn[bottom : tile[3], tile[0] : tile[2]] == 255).all()


@pytest.mark.golden_cases("pic_in_pic")
def test_inner_picture_is_the_authors(golden):
    content = golden.content
    box = inner_box(content["inner_wh"], content["background_wh"], scale=content["scale"])
    if content["label"] == "bug":
        assert box[2] > box[0] and box[3] > box[1]
        return
    assert list(box) == content["output"]["inner_box"]
    drawn = compose_pic_in_pic(
        Image.new("RGB", tuple(content["inner_wh"]), RED), Image.new("RGB", tuple(content["background_wh"]), "white")
    )
    assert list(drawn.size) == content["output"]["canvas"]
    is_red = (np.asarray(drawn) == RED).all(axis=2)
    rows, columns = np.flatnonzero(is_red.any(axis=1)), np.flatnonzero(is_red.any(axis=0))
    assert [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] == list(box)


@pytest.mark.golden_cases("pic_in_pic", where=lambda content: content["label"] != "bug")
def test_exact_region_is_the_inner_picture_after_padding(golden):
    content = golden.content
    width, height = content["background_wh"]
    original = Frame.original("background", width=width, height=height)
    box = Box.from_xyxy(content["output"]["inner_box"], frame=original)
    seen = original.padded_to_square(align="center")
    weights = region_weights(box, seen=seen, grid_height=SIDE, grid_width=SIDE)
    x0, y0, x1, y1 = content["right_token_region_xyxy"]
    assert weights.sum().item() == pytest.approx((x1 - x0) * (y1 - y0), rel=1e-4)
    columns, rows = weights.sum(dim=0).nonzero().flatten(), weights.sum(dim=1).nonzero().flatten()
    assert [columns[0], rows[0]] == [int(x0), int(y0)]
    assert [columns[-1], rows[-1]] == [int(np.ceil(x1)) - 1, int(np.ceil(y1)) - 1]


@pytest.mark.golden_cases("pic_in_pic", where=lambda content: "reference_token_region_xyxy" in content)
def test_reference_region_is_the_authors(golden):
    content = golden.content
    x0, y0, x1, y1 = content["reference_token_region_xyxy"]
    weights = region_weights(None, grid_height=SIDE, grid_width=SIDE)
    assert (weights[y0:y1, x0:x1] == 1).all()
    assert weights.sum() == (x1 - x0) * (y1 - y0)


def test_grid_shape_is_read_off_the_canvas(golden):
    content = golden.content
    if content["kind"] == "grid_shape_from_canvas":
        expected = content["output"]["rows"], content["output"]["cols"]
        assert read_grid_shape(tuple(content["canvas"])) == expected
