import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmzoo.data.drawing import draw_masks
from vlmzoo.errors import FrameError
from vlmzoo.geometry import Frame, Mask

FRAME = Frame.original("picture", width=9, height=7)


def make_mask(seed):
    return Mask(np.random.default_rng(seed).random((7, 9)) < 0.5, frame=FRAME)


@given(seeds=st.lists(st.integers(0, 100), max_size=3), opacity=st.floats(0.1, 1.0))
def test_only_the_pixels_of_masks_change(seeds, opacity):
    picture = Image.effect_noise((9, 7), 50).convert("RGB")
    masks = [make_mask(seed) for seed in seeds]
    drawn = np.asarray(draw_masks(picture, masks, opacity=opacity))
    outside = ~np.any([mask.array for mask in masks], axis=0) if masks else np.ones((7, 9), dtype=bool)
    assert np.array_equal(drawn[outside], np.asarray(picture)[outside])


def test_masks_have_colours_of_their_own_and_a_solid_border():
    array = np.zeros((7, 9), dtype=bool)
    array[1:6, 1:4] = True
    one, other = Mask(array, frame=FRAME), Mask(np.roll(array, 4, axis=1), frame=FRAME)
    drawn = np.asarray(draw_masks(Image.new("RGB", (9, 7)), [one, other], opacity=0.5)).astype(int)
    assert tuple(drawn[1, 1]) != tuple(drawn[1, 5])
    assert abs(2 * drawn[3, 2] - drawn[1, 1]).max() <= 1


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(FrameError, match="over an image of 8×7 pixels must have its size"):
        draw_masks(Image.new("RGB", (8, 7)), [make_mask(0)])
