"""Regions in words against the authors' parsing lines."""

import pytest

from vlmzoo.data.regions import read_region
from vlmzoo.geometry import Box, Frame

GOLDEN = ("fast", "f_cos_roi/*.json")


def read(content, *, compat=None, least_side_px=32):
    width, height = content["image_wh"]
    original = Frame.original("golden", width=width, height=height)
    square = original.padded_to_square(align="center")
    return read_region(content["text"], square=square, compat=compat, least_side_px=least_side_px), square


def test_reference_rule_is_the_authors(golden):
    content = golden.content
    region, square = read(content, compat="cos")
    assert square.width == content["square"]
    assert (region.fault is None) is content["parsed"]
    if content["parsed"]:
        assert region.box.xyxy == pytest.approx(content["float_box"])
    else:
        assert region.box == Box.whole(square)
    crop = region.box.rounded()
    assert [crop.width, crop.height] == content["crop_size"]


def test_our_rule_reads_what_theirs_reads(golden):
    content = golden.content
    region, _ = read(content, least_side_px=1)
    if content["parsed"]:
        assert region.fault is None
        assert region.box.xyxy == pytest.approx(content["float_box"])
