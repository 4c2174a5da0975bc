import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou, generalized_box_iou

from tests.vlmzoo.geometry.conftest import boxes, make_frame, masks, pixel_boxes
from vlmzoo.errors import FrameError
from vlmzoo.geometry import Box, Mask, giou, iou, iou_matrix, mask_iou

FRAME = make_frame(14, 9)
lists = st.lists(boxes(FRAME), max_size=5)


def make_box(*values, frame=FRAME):
    return Box.from_xyxy(values, frame=frame)


def painted(box):
    array = np.zeros((FRAME.height, FRAME.width), dtype=bool)
    x0, y0, x1, y1 = (int(edge) for edge in box.xyxy)
    array[y0:y1, x0:x1] = True
    return Mask(array, frame=FRAME)


@given(pixel_boxes(FRAME), pixel_boxes(FRAME))
def test_overlap_is_what_counting_pixels_gives(box, other):
    counted, others = painted(box).array, painted(other).array
    expected = (counted & others).sum() / (counted | others).sum()
    assert iou(box, other) == expected
    assert mask_iou(painted(box), painted(other)) == expected
    rows, columns = np.nonzero(counted | others)
    enclosing = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert giou(box, other) == pytest.approx(expected - (enclosing - (counted | others).sum()) / enclosing)


@given(lists, lists)
def test_the_matrix_agrees_with_torchvision_and_with_single_pairs(ones, others):
    found = iou_matrix(ones, others)
    assert found.shape == (len(ones), len(others))
    expected = box_iou(*(torch.tensor([box.xyxy for box in many]).reshape(-1, 4).double() for many in (ones, others)))
    np.testing.assert_allclose(found, expected.nan_to_num(0.0).numpy(), atol=1e-12)
    assert all(found[i, j] == iou(one, other) for i, one in enumerate(ones) for j, other in enumerate(others))


@given(boxes(FRAME), boxes(FRAME))
def test_giou_agrees_with_torchvision(box, other):
    expected = generalized_box_iou(*(torch.tensor([each.xyxy]).double() for each in (box, other))).item()
    assert giou(box, other) == pytest.approx(-1.0 if box.area == other.area == 0 else expected, abs=1e-12)


@pytest.mark.parametrize(
    ("box", "other", "reward"),
    [
        ((700, 325, 936, 687), (570, 153, 818, 793), 1.0720130287622303),
        ((671, 768, 726, 798), (654, 772, 715, 813), 1.3085320466237222),
        ((238, 771, 806, 899), (244, 783, 788, 897), 1.852992957746479),
    ],
)
def test_giou_is_the_grounding_reward_of_visual_rft_less_one(box, other, reward):
    # rewards of Visual-RFT's code, whose boxes are thousandths
    frame = FRAME.norm1000
    assert giou(make_box(*box, frame=frame), make_box(*other, frame=frame)) + 1 == pytest.approx(reward, abs=1e-12)


@given(boxes(FRAME), boxes(FRAME))
def test_overlap_is_symmetric_and_within_its_bounds(box, other):
    assert iou(box, other) == iou(other, box)
    assert giou(box, other) == giou(other, box)
    assert -1 <= giou(box, other) <= iou(box, other) <= 1
    assert iou(box, other) >= 0


@given(st.lists(st.floats(-1e12, 1e12), min_size=8, max_size=8))
def test_bounds_hold_for_numbers_of_any_size(numbers):
    xs, ys, other_xs, other_ys = (sorted(numbers[i : i + 2]) for i in range(0, 8, 2))
    box, other = make_box(xs[0], ys[0], xs[1], ys[1]), make_box(other_xs[0], other_ys[0], other_xs[1], other_ys[1])
    assert -1 <= giou(box, other) <= iou(box, other) <= 1


@given(boxes(FRAME))
def test_a_box_with_an_area_equals_itself_and_its_part_is_its_share(box):
    if box.area == 0:
        assert (iou(box, box), giou(box, box)) == (0, -1)
        return
    assert (iou(box, box), giou(box, box)) == (1, 1)
    left = make_box(box.x0, box.y0, box.center.x, box.y1)
    assert iou(left, box) == giou(left, box) == 0.5


@given(boxes(FRAME), boxes(FRAME), st.integers(-64, 64), st.integers(-64, 64))
def test_overlap_does_not_change_when_both_boxes_move(box, other, right, down):
    moved = [make_box(b.x0 + right, b.y0 + down, b.x1 + right, b.y1 + down) for b in (box, other)]
    assert iou(*moved) == iou(box, other)
    assert giou(*moved) == giou(box, other)


@pytest.mark.parametrize("gap", [0, 1, 5])
def test_boxes_apart_have_no_overlap_and_a_giou_that_falls_with_the_gap(gap):
    box, other = make_box(0, 0, 2, 2), make_box(2 + gap, 0, 4 + gap, 2)
    assert iou(box, other) == 0
    assert giou(box, other) == pytest.approx(-gap / (4 + gap))


def test_boxes_without_area_have_defined_results():
    line, point, box = make_box(1, 1, 5, 1), make_box(2, 1, 2, 1), make_box(0, 0, 4, 4)
    assert iou(line, point) == iou(line, line) == iou(line, box) == 0
    assert giou(line, point) == giou(line, line) == giou(point, point) == -1
    assert giou(point, box) == 0  # the union fills the enclosing box
    assert giou(line, box) == -4 / 20


@given(masks())
def test_empty_masks_agree_and_a_mask_agrees_with_itself(mask):
    assert mask_iou(mask, mask) == 1
    assert mask_iou(mask, ~mask) == 0


def test_an_empty_prediction_of_something_scores_nothing():
    empty, full = (Mask(np.full((9, 14), value), frame=FRAME) for value in (False, True))
    assert mask_iou(empty, full) == 0
    assert mask_iou(empty, empty) == 1


def test_frames_are_not_mixed():
    box, other = make_box(0, 0, 500, 500, frame=FRAME.norm1000), make_box(0, 0, 7, 4)
    for compare in (iou, giou, lambda a, b: iou_matrix([a], [b]), lambda a, b: iou_matrix([a, b], [])):
        with pytest.raises(FrameError, match="must stand in the norm1000 .*stands in the original .*convert it with"):
            compare(box, other)
    with pytest.raises(FrameError, match="must stand in .*`cat.jpg`, but stands in .*`dog.jpg`"):
        mask_iou(painted(other), Mask(np.zeros((9, 14), dtype=bool), frame=make_frame(14, 9, image="dog.jpg")))


def test_no_boxes_give_an_empty_matrix():
    assert iou_matrix([], []).shape == (0, 0)
    assert iou_matrix([make_box(0, 0, 1, 1)], []).shape == (1, 0)
