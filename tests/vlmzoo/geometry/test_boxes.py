import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.geometry.conftest import boxes, frames, make_frame
from vlmzoo.errors import DataError
from vlmzoo.geometry import Box, Point

FRAME = make_frame(20, 10)


@given(boxes(FRAME))
def test_every_format_gives_the_box_back(box):
    assert Box.from_xyxy(box.xyxy, frame=FRAME) == box
    assert Box.from_xywh(box.xywh, frame=FRAME) == box
    assert Box.from_cxcywh(box.cxcywh, frame=FRAME) == box


def test_the_formats_name_the_same_box():
    box = Box(frame=FRAME, x0=2, y0=1, x1=8, y1=5)
    assert (box.xyxy, box.xywh, box.cxcywh) == ((2, 1, 8, 5), (2, 1, 6, 4), (5, 3, 6, 4))
    assert (box.width, box.height, box.area) == (6, 4, 24)
    assert box.center == Point(frame=FRAME, x=5, y=3)


@given(st.data())
def test_clipping_keeps_what_lies_inside_and_nothing_more(data):
    frame = data.draw(frames())
    box = data.draw(boxes(frame, beyond=3))
    clipped = box.clipped()
    assert 0 <= clipped.x0 <= clipped.x1 <= frame.width
    assert 0 <= clipped.y0 <= clipped.y1 <= frame.height
    assert clipped.clipped() == clipped
    inside_x = max(0, min(box.x1, frame.width) - max(box.x0, 0))
    inside_y = max(0, min(box.y1, frame.height) - max(box.y0, 0))
    assert clipped.area == inside_x * inside_y


@given(boxes(FRAME))
def test_rounding_goes_to_the_nearest_and_outward_never_inside(box):
    for edge, nearest in zip(box.xyxy, box.rounded().xyxy, strict=True):
        assert nearest.is_integer()
        assert abs(edge - nearest) <= 0.5
    out = box.outward()
    assert all(edge.is_integer() for edge in out.xyxy)
    assert 0 <= box.x0 - out.x0 < 1
    assert 0 <= box.y0 - out.y0 < 1
    assert 0 <= out.x1 - box.x1 < 1
    assert 0 <= out.y1 - box.y1 < 1


def test_halves_are_rounded_to_even():
    assert Box.from_xyxy((0.5, 1.5, 2.5, 3.5), frame=FRAME).rounded().xyxy == (0, 2, 2, 4)


@pytest.mark.parametrize("array", [np.array([1, 2, 3, 4]), np.array([1, 2, 3, 4], dtype=np.float32)])
def test_numbers_of_an_array_become_plain_floats(array):
    box = Box.from_xyxy(array, frame=FRAME)
    assert box.xyxy == (1, 2, 3, 4)
    assert all(type(edge) is float for edge in box.xyxy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 0, float("nan"), 1), "value 2 of x0, y0, x1, y1` must be a finite number .* but is nan"),
        ((0, 0, float("inf"), 1), "must be a finite number within ±1e\\+12, but is inf"),
        ((0, 0, 10**400, 1), "must be a finite number"),
        ((0, 0, "3", 1), "must be a number, but is '3' instead"),
        ((0, 0, True, 1), "must be a number, but is True instead"),
        ((0, 0, 3), "must have four numbers .* but has 3 instead"),
        ((0, 0, 3, 4, 0.9), "must have four numbers .* but has 5 instead"),
        ((5, 0, 3, 1), "`x1` must be at least `x0`, but x1 is 3.0 and x0 is 5.0 instead; check the order"),
        ((0, 5, 3, 1), "`y1` must be at least `y0`, but y1 is 1.0 and y0 is 5.0"),
    ],
)
def test_numbers_that_are_no_box_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        Box.from_xyxy(values, frame=FRAME)


@pytest.mark.parametrize("build", [Box.from_xywh, Box.from_cxcywh])
@pytest.mark.parametrize("values", [(0, 0, -1, 2), (0, 0, 1, -2)])
def test_a_negative_extent_is_refused(build, values):
    with pytest.raises(DataError, match="width and a height of zero or more, but has .*whether the numbers mean"):
        build(values, frame=FRAME)


def test_a_box_is_checked_however_it_is_built():
    with pytest.raises(DataError, match="`y0` must be a finite number"):
        Box(frame=FRAME, x0=0, y0=float("nan"), x1=1, y1=1)


def test_a_point_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="`x` must be a finite number .* but is nan"):
        Point(frame=FRAME, x=float("nan"), y=0)


def test_boxes_and_points_name_their_frame():
    assert str(Box.whole(FRAME)) == "box (0, 0, 20, 10) in the original frame 20×10 of `cat.jpg`"
    assert str(Point(frame=FRAME, x=1.5, y=2)) == "point (1.5, 2) in the original frame 20×10 of `cat.jpg`"
