import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.geometry.conftest import boxes, frames_of_one_image, make_frame
from vlmzoo.errors import FrameError
from vlmzoo.geometry import Box, HeatMap, Mask, Point, Transform, iou


@given(frames_of_one_image(2))
def test_there_and_back_is_exactly_the_identity(pair):
    source, target = pair
    transform = Transform(source=source, target=target)
    identity = transform.then(transform.inverse())
    assert identity == Transform(source=source, target=source)
    assert (identity.scale, identity.shift) == ((1.0, 1.0), (0.0, 0.0))
    assert transform.inverse().inverse() == transform


@given(st.data())
def test_a_box_comes_back_as_it_was(data):
    source, target = data.draw(frames_of_one_image(2))
    transform = Transform(source=source, target=target)
    box = data.draw(boxes(source))
    back = transform.inverse()(transform(box))
    assert back.frame == source
    assert back.xyxy == pytest.approx(box.xyxy, rel=1e-12, abs=1e-9)


@given(st.data())
def test_two_transforms_in_a_row_are_their_composition(data):
    first, second, third = data.draw(frames_of_one_image(3))
    one, other = Transform(source=first, target=second), Transform(source=second, target=third)
    box = data.draw(boxes(first))
    assert one.then(other)(box).xyxy == pytest.approx(other(one(box)).xyxy, rel=1e-9, abs=1e-9)
    assert one.then(other).scale == pytest.approx(np.multiply(one.scale, other.scale))
    assert one.then(other).shift == pytest.approx(np.multiply(other.scale, one.shift) + other.shift, abs=1e-9)


@given(st.data())
def test_scale_and_shift_say_where_a_point_goes(data):
    source, target = data.draw(frames_of_one_image(2))
    transform = Transform(source=source, target=target)
    point = data.draw(boxes(source)).center
    moved = transform(point)
    expected = np.multiply(transform.scale, (point.x, point.y)) + transform.shift
    assert (moved.x, moved.y) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.data())
def test_the_overlap_of_two_boxes_is_the_same_in_every_frame(data):
    source, target = data.draw(frames_of_one_image(2))
    box, other = data.draw(boxes(source)), data.draw(boxes(source))
    assert iou(box.to(target), other.to(target)) == pytest.approx(iou(box, other), abs=1e-6)


@given(st.data())
def test_a_map_keeps_the_order_of_corners(data):
    source, target = data.draw(frames_of_one_image(2))
    box = data.draw(boxes(source))
    flat = Box.from_xyxy((box.x0, box.y0, box.x0, box.y0), frame=source)
    assert flat.to(target).area == 0


def test_a_transform_takes_all_that_has_a_frame():
    original = make_frame(2, 2)
    crop = original.cropped(Box.from_xyxy((1, 0, 2, 2), frame=original))
    transform = Transform(source=original, target=crop)
    assert transform(Point(frame=original, x=1.5, y=0.5)) == Point(frame=crop, x=0.5, y=0.5)
    assert transform(Mask(np.array([[True, False], [False, True]]), frame=original)).array.tolist() == [[False], [True]]
    assert transform(HeatMap(np.array([[1.0, 2.0], [3.0, 4.0]]), frame=original)).array.tolist() == [[2.0], [4.0]]


def test_a_value_of_another_frame_is_refused_with_both_names_and_the_way_out():
    original = make_frame(640, 480)
    resized = original.resized(width=644, height=476)
    transform = Transform(source=resized, target=resized.norm1000)
    with pytest.raises(FrameError) as caught:
        transform(Box.from_xyxy((1, 2, 3, 4), frame=original))
    assert str(resized) in str(caught.value)
    assert str(original) in str(caught.value)
    assert "convert it with `.to(frame)`" in str(caught.value)


def test_a_resize_that_changes_nothing_is_still_another_frame():
    original = make_frame(56, 56)
    with pytest.raises(FrameError, match="must stand in the resized frame.*stands in the original frame"):
        Transform(source=original.resized(width=56, height=56), target=original)(Box.whole(original))


def test_transforms_that_do_not_meet_are_refused():
    original = make_frame(8, 8)
    to_unit = Transform(source=original, target=original.unit)
    with pytest.raises(FrameError, match="must start from the unit frame.*starts from the original frame"):
        to_unit.then(to_unit)


def test_a_transform_between_two_images_is_refused():
    with pytest.raises(FrameError, match="these are two images"):
        Transform(source=make_frame(8, 8), target=make_frame(8, 8, image="dog.jpg"))


@given(frames_of_one_image(2))
def test_a_transform_survives_the_way_between_processes(pair):
    transform = Transform(source=pair[0], target=pair[1])
    assert pickle.loads(pickle.dumps(transform)) == transform


@pytest.mark.parametrize("heavy", ["torch", "transformers", "PIL", "pydantic"])
def test_geometry_loads_without_heavy_packages(fresh_python, heavy):
    assert fresh_python(f"import sys, vlmzoo.geometry; print({heavy!r} in sys.modules)") == "False"
