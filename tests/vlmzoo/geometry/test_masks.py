from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.geometry.conftest import cropped, derived, make_frame, make_mask, masks, padded, sides
from vlmzoo.errors import DataError, FrameError, ShapeError
from vlmzoo.geometry import Box, HeatMap, Mask, Point


@given(st.data())
def test_crops_and_pads_cut_and_lengthen_the_array(data):
    mask = data.draw(masks())
    frame, array = mask.frame, mask.array
    for step in data.draw(st.lists(st.sampled_from([padded, cropped]), max_size=5)):
        larger = data.draw(step(frame))
        if step is cropped:
            x0, y0, x1, y1 = (int(edge) for edge in Box.whole(larger).to(frame).xyxy)
            array = array[y0:y1, x0:x1]
        else:
            x0, y0 = (int(edge) for edge in Box.whole(frame).to(larger).xyxy[:2])
            after = (larger.height - frame.height - y0, larger.width - frame.width - x0)
            array = np.pad(array, [(y0, after[0]), (x0, after[1])])
        frame = larger
    assert np.array_equal(mask.to(frame).array, array)
    assert np.array_equal(mask.to(frame, mode="bilinear").array, array)
    assert np.array_equal(HeatMap(mask.array.astype(np.float32), frame=mask.frame).to(frame).array, array)


@given(masks(), sides, sides)
def test_nearest_reads_the_pixel_that_holds_the_centre(mask, width, height):
    array = mask.to(mask.frame.resized(width=width, height=height)).array
    rows = [(row + Fraction(1, 2)) * mask.frame.height // height for row in range(height)]
    columns = [(column + Fraction(1, 2)) * mask.frame.width // width for column in range(width)]
    assert np.array_equal(array, mask.array[np.ix_(rows, columns)])


@given(st.data())
def test_a_pixel_of_a_mask_is_where_its_centre_goes(data):
    mask = data.draw(masks())
    target = data.draw(derived(mask.frame))
    array = mask.to(target).array
    for row, column in np.argwhere(array):
        point = Point(frame=target, x=column + 0.5, y=row + 0.5).to(mask.frame)
        x, y = point.x, point.y
        near = mask.array[max(0, int(y - 1e-9)) : int(y + 1e-9) + 1, max(0, int(x - 1e-9)) : int(x + 1e-9) + 1]
        assert near.any()


@given(masks(), st.integers(1, 5), st.integers(1, 5))
def test_enlarging_by_whole_factors_repeats_pixels_and_can_be_undone(mask, across, down):
    larger = mask.frame.resized(width=mask.frame.width * across, height=mask.frame.height * down)
    assert np.array_equal(mask.to(larger).array, np.kron(mask.array, np.ones((down, across), dtype=bool)))
    assert mask.to(larger).to(mask.frame) == mask


@given(st.data())
def test_there_and_back_keeps_what_was_not_cut_off(data):
    mask = data.draw(masks())
    frame = data.draw(derived(mask.frame, steps=(padded, cropped)))
    kept = Mask(np.ones((frame.height, frame.width), dtype=bool), frame=frame).to(mask.frame)
    assert mask.to(frame).to(mask.frame) == mask & kept


@given(st.data())
def test_a_mask_moves_with_its_box(data):
    mask = data.draw(masks())
    frame = data.draw(padded(mask.frame))
    box, moved = mask.box(), mask.to(frame).box()
    assert moved == (None if box is None else box.to(frame))


@given(masks())
def test_the_box_of_a_mask_is_tight(mask):
    box = mask.box()
    if box is None:
        assert mask.area == 0
        return
    x0, y0, x1, y1 = (int(edge) for edge in box.xyxy)
    inside = mask.array[y0:y1, x0:x1]
    assert inside.sum() == mask.area
    assert all(line.any() for line in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@given(masks(), sides, sides)
def test_bilinear_agrees_with_torch(mask, width, height):
    generator = np.random.default_rng(mask.array.size)
    heat = HeatMap(generator.normal(size=mask.array.shape), frame=mask.frame)
    found = heat.to(mask.frame.resized(width=width, height=height)).array
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(heat.array.copy())[None, None], size=(height, width), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=1e-9)


@pytest.mark.parametrize("size", [(64, 40), (33, 77), (50, 50)])
def test_mask_logits_of_sam_come_back_as_its_own_post_processing_brings_them(size):
    original = make_frame(*size)
    resized = original.resized_to_longest_side(64)
    padded_frame = resized.padded(width=64, height=64, align="top_left")
    logits = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    found = HeatMap(logits, frame=padded_frame.resized(width=16, height=16)).to(padded_frame).to(resized).to(original)
    interpolate = torch.nn.functional.interpolate
    full = interpolate(torch.from_numpy(logits)[None, None], (64, 64), mode="bilinear", align_corners=False)
    cut = full[..., : resized.height, : resized.width]
    expected = interpolate(cut, size[::-1], mode="bilinear", align_corners=False)[0, 0].numpy()
    np.testing.assert_allclose(found.array, expected, atol=1e-5)
    assert found.array.dtype == np.float32
    assert np.array_equal(found.above(0.0).array, found.array > 0)


@given(st.data(), st.sampled_from([-1.5, 0.1, 3.0]))
def test_a_constant_map_stays_constant_and_padding_is_filled(data, value):
    frame = make_frame(data.draw(sides), data.draw(sides))
    target = data.draw(derived(frame))
    whole = Mask(np.ones((frame.height, frame.width), dtype=bool), frame=frame).to(target)
    heat = HeatMap(np.full((frame.height, frame.width), value), frame=frame).to(target, fill=9.0)
    assert np.array_equal(heat.array, np.where(whole.array, value, 9.0))


@given(st.data())
def test_what_stands_on_padding_is_nothing_of_the_image(data):
    original = make_frame(data.draw(sides), data.draw(sides))
    square = original.padded_to_square(align="center")
    everything = Mask(np.ones((square.height, square.width), dtype=bool), frame=square)
    assert everything.to(original).area == original.width * original.height
    assert everything.to(square.resized(width=2 * square.width, height=2 * square.height)).area == (
        4 * original.width * original.height
    )


def test_a_bilinear_mask_holds_where_at_least_half_belongs():
    mask = make_mask(["#."])
    wide = mask.to(mask.frame.resized(width=8, height=1), mode="bilinear")
    assert wide.array.tolist() == [[True, True, True, True, False, False, False, False]]
    assert mask.to(mask.frame.resized(width=1, height=1), mode="bilinear").area == 1
    assert make_mask(["#..."]).to(make_mask(["#..."]).frame.resized(width=1, height=1), mode="bilinear").area == 0


@given(masks(), st.randoms(use_true_random=False))
def test_masks_combine_as_sets(mask, random):
    other = Mask(np.array([[random.random() < 0.5 for _ in row] for row in mask.array]), frame=mask.frame)
    assert (mask & other).area + (mask | other).area == mask.area + other.area
    assert ~(mask & other) == ~mask | ~other
    assert mask & ~mask == Mask(np.zeros_like(mask.array), frame=mask.frame)
    assert hash(~~mask) == hash(mask)


def test_masks_of_two_frames_are_not_equal_and_do_not_combine():
    mask, other = make_mask(["#."]), make_mask(["#."], image="dog.jpg")
    assert mask != other
    with pytest.raises(FrameError, match="The second mask must stand in .*`cat.jpg`, but stands in .*`dog.jpg`"):
        mask & other


def test_a_mask_does_not_follow_its_source():
    array = np.zeros((2, 3), dtype=bool)
    mask = Mask(array, frame=make_frame(3, 2))
    array[0, 0] = True
    assert mask.area == 0
    with pytest.raises(ValueError, match="read-only"):
        mask.array[0, 0] = True


@pytest.mark.parametrize("make", [lambda array, frame: Mask(array > 0, frame=frame), HeatMap])
def test_an_array_of_another_shape_is_refused(make):
    with pytest.raises(ShapeError, match=r"shape \(height, width\) of its frame, \(2, 3\), but has \(3, 2\) instead"):
        make(np.zeros((3, 2)), frame=make_frame(3, 2))
    with pytest.raises(ShapeError, match=r"but has \(1, 2, 3\) instead"):
        make(np.zeros((1, 2, 3)), frame=make_frame(3, 2))


def test_a_mask_of_labels_is_refused():
    with pytest.raises(DataError, match="array of bool, but is of uint8 instead; write which values belong"):
        Mask(np.zeros((2, 3), dtype=np.uint8), frame=make_frame(3, 2))


def test_a_heat_map_of_integers_or_with_nan_is_refused():
    with pytest.raises(DataError, match="array of floats, but is of int64"):
        HeatMap(np.zeros((2, 3), dtype=np.int64), frame=make_frame(3, 2))
    with pytest.raises(DataError, match="must be finite, but is nan in row 1, column 2"):
        HeatMap(np.array([[0, 0, 0], [0, 0, np.nan]]), frame=make_frame(3, 2))


def test_fractions_have_no_pixels_to_mask():
    mask = make_mask(["#."])
    with pytest.raises(FrameError, match="A mask needs a frame of pixels, but this is the norm1000 frame"):
        mask.to(mask.frame.norm1000)
    with pytest.raises(FrameError, match="A heat map needs a frame of pixels, but this is the unit frame"):
        HeatMap(np.zeros((1, 1)), frame=mask.frame.unit)


def test_a_mask_cannot_go_to_another_image():
    with pytest.raises(FrameError, match="these are two images"):
        make_mask(["#."]).to(make_frame(2, 1, image="dog.jpg"))


def test_an_unknown_mode_is_refused():
    mask = make_mask(["#."])
    with pytest.raises(DataError, match="`mode` must be `nearest` or `bilinear`, but is 'bicubic'"):
        mask.to(mask.frame, mode="bicubic")
