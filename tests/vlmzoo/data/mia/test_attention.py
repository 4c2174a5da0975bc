"""Laws of attention shares."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.mia.attention import (
    ImageSpan,
    attention_maps,
    region_share,
    region_weights,
    sequence_share,
    tile_weights,
)
from vlmzoo.errors import ShapeError
from vlmzoo.geometry import Box, Frame

sides = st.integers(1, 12)


@given(st.integers(1, 3), st.integers(1, 3), sides, sides)
def test_tiles_cover_every_token_once(num_rows, num_columns, extra_height, extra_width):
    height, width = num_rows + extra_height, num_columns + extra_width
    tiles = [
        tile_weights(index=i, num_rows=num_rows, num_columns=num_columns, grid_height=height, grid_width=width)
        for i in range(num_rows * num_columns)
    ]
    assert torch.equal(sum(tiles), torch.ones(height, width))


@given(st.integers(2, 5), sides, sides)
def test_even_attention_gives_every_image_the_same_share(num_images, height, width):
    maps = [torch.full((height, width), 0.125) for _ in range(num_images)]
    for target in range(1, num_images + 1):
        assert sequence_share(maps, target) == pytest.approx(1 / num_images)


@given(st.integers(0, 60), st.integers(0, 40), st.integers(1, 60), st.integers(1, 40), sides, sides)
def test_exact_region_has_the_boxs_share_of_the_area(x, y, width, height, rows, columns):
    frame = Frame.original("picture", width=120, height=80)
    box = Box.from_xywh((x, y, min(width, 120 - x), min(height, 80 - y)), frame=frame)
    weights = region_weights(box, grid_height=rows, grid_width=columns)
    assert weights.sum().item() == pytest.approx(box.area / (120 * 80) * rows * columns, rel=1e-4, abs=1e-5)
    assert ((weights >= 0) & (weights <= 1 + 1e-6)).all()


def test_shares_of_complementary_regions_add_up_to_one():
    single = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    weights = tile_weights(index=1, num_rows=2, num_columns=2, grid_height=4, grid_width=6)
    assert region_share(single, weights) + region_share(single, 1 - weights) == pytest.approx(1.0)


def test_images_of_unequal_size_are_compared_by_their_means():
    attention = torch.zeros(1, 1, 12)
    attention[..., 0:2], attention[..., 2:10] = 0.2, 0.1
    spans = [ImageSpan(start=0, grid_height=1, grid_width=2), ImageSpan(start=2, grid_height=2, grid_width=4)]
    assert sequence_share(attention_maps(attention, spans), 1) == pytest.approx(2 / 3)


def test_an_answer_of_one_token_has_no_step_of_its_own():
    with pytest.raises(ShapeError, match="include_prompt=True"):
        attention_maps(torch.zeros(0, 2, 8), [ImageSpan(start=0, grid_height=2, grid_width=2)])


def test_a_span_beyond_the_sequence_is_named():
    with pytest.raises(ShapeError, match="Image 1 must lie within the 3 attended positions"):
        attention_maps(torch.zeros(1, 1, 3), [ImageSpan(start=0, grid_height=2, grid_width=2)])
