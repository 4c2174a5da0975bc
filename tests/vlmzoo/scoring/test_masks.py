import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vlmzoo.errors import DataError, ShapeError
from vlmzoo.scoring.masks import MaskOverlap, cumulative_interval, cumulative_iou, mask_overlap, mean_iou

masks = npst.arrays(bool, (5, 7))


def make_mask(*pixels, shape=(4, 4)):
    mask = np.zeros(shape, dtype=bool)
    for row, column in pixels:
        mask[row, column] = True
    return mask


@given(masks, masks)
def test_the_overlap_is_that_of_sets(predicted, target):
    overlap = mask_overlap(predicted, target)
    assert (overlap.intersection, overlap.union) == ((predicted & target).sum(), (predicted | target).sum())
    assert overlap == mask_overlap(target, predicted)
    assert 0 <= overlap.iou() <= 1
    assert mask_overlap(predicted, predicted).iou() == 1


@given(masks, masks, masks)
def test_pixels_that_nobody_judged_count_on_neither_side(predicted, target, ignored):
    overlap = mask_overlap(predicted, target, ignored=ignored)
    assert overlap == mask_overlap(predicted & ~ignored, target & ~ignored)
    labels = np.where(ignored, 255, target.astype(np.uint8))
    assert overlap == mask_overlap(predicted, labels, compat=True)


def test_an_empty_target_is_met_by_an_empty_prediction_alone():
    empty, some = make_mask(), make_mask((1, 1))
    assert mask_overlap(empty, empty).iou() == 1
    assert mask_overlap(some, empty).iou() == 0


def test_summed_parts_count_once_and_as_the_authors_do_in_compat_mode():
    predicted = make_mask((0, 0), (0, 1), (0, 2))
    target = predicted.astype(np.uint8)
    target[0, 1] = 2  # two polygons overlap there
    assert mask_overlap(predicted, target).iou() == 1
    assert mask_overlap(predicted, target, compat=True).iou() == pytest.approx(2 / 3)


@given(st.lists(st.tuples(masks, masks), min_size=1, max_size=6))
def test_a_single_mask_has_the_same_giou_and_ciou_and_more_stay_within_their_range(pairs):
    overlaps = [mask_overlap(*pair) for pair in pairs]
    assert mean_iou(overlaps[:1]) == pytest.approx(cumulative_iou(overlaps[:1]))
    ious = [overlap.iou() for overlap in overlaps if overlap.union]
    if ious:
        assert min(ious) - 1e-9 <= cumulative_iou(overlaps) <= max(ious) + 1e-9
    interval = cumulative_interval(overlaps, num_resamples=50)
    assert interval.low <= interval.mean == cumulative_iou(overlaps) <= interval.high
    assert interval == cumulative_interval(overlaps, num_resamples=50)


def test_large_objects_weigh_more_in_ciou_than_in_giou():
    overlaps = [MaskOverlap(90, 100), MaskOverlap(0, 10)]
    assert mean_iou(overlaps) == pytest.approx(0.45)
    assert cumulative_iou(overlaps) == pytest.approx(90 / 110)


def test_masks_of_other_sizes_are_refused():
    with pytest.raises(ShapeError, match="`target` must have the shape of the prediction, \\(4, 4\\)"):
        mask_overlap(make_mask(), make_mask(shape=(4, 5)))
    with pytest.raises(ShapeError, match="`ignored`"):
        mask_overlap(make_mask(), make_mask(), ignored=make_mask(shape=(2, 2)))
    with pytest.raises(DataError, match="foreground or background"):
        mask_overlap(make_mask(), make_mask(), of="both")
    with pytest.raises(DataError, match="at least one mask"):
        mean_iou([])
