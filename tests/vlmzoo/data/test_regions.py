"""Regions in words: there and back, and whatever a model writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.regions import read_region, region_text
from vlmzoo.geometry import Box, Frame

ORIGINAL = Frame.original("photo", width=640, height=480)
SQUARE = ORIGINAL.padded_to_square(align="center")


@given(st.text())
def test_whatever_is_said_is_a_region_of_the_square(text):
    box = read_region(text, square=SQUARE).box
    assert 0 <= box.x0 < box.x1 <= 640
    assert 0 <= box.y0 < box.y1 <= 640


thousandths = st.integers(0, 1000).map(lambda count: count / 1000)


@given(thousandths, thousandths, thousandths, thousandths)
def test_a_region_comes_back_from_its_words(a, b, c, d):
    (x0, x1), (y0, y1) = sorted((a, b)), sorted((c, d))
    box = Box.from_xyxy((x0 * 640, y0 * 640, x1 * 640, y1 * 640), frame=SQUARE)
    text = region_text(box, square=SQUARE)
    for compat in (None, "cos"):
        found = read_region(text, square=SQUARE, compat=compat, least_side_px=0)
        assert found.fault is None
        assert found.box.xyxy == pytest.approx(box.xyxy, abs=1e-6)


def test_boxes_of_the_image_are_told_in_the_square():
    box = Box.from_xyxy((0, 0, 640, 480), frame=ORIGINAL)
    assert region_text(box, square=SQUARE) == "[0.0, 0.125, 1.0, 0.875]"


@pytest.mark.parametrize("text", ["no idea", "", "[0.1, 0.2]", "[nan, nan, nan, nan]"])
def test_what_cannot_be_read_says_why(text):
    region = read_region(text, square=SQUARE)
    assert region.box == Box.whole(SQUARE)
    assert "no four numbers" in region.fault


@pytest.mark.parametrize("text", ["[0.9, 0.9, 0.1, 0.1]", "x from .1 to .9:\n0.1 0.1 0.9 0.9", "(1.7, 0.1, 0.1, 5)"])
def test_corners_are_sorted_and_clamped(text):
    region = read_region(text, square=SQUARE)
    assert region.fault is None
    assert region.box.area > 0


def test_a_point_is_widened_about_itself_and_stays_inside():
    box = read_region("[0.5, 1.0, 0.5, 1.0]", square=SQUARE).box
    assert box.xyxy == pytest.approx((304, 608, 336, 640))
