"""Pictures cut into tiles: which grid, which pixels, and as many placeholders as the model fills."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.vlmzoo.models.conftest import make_eagle_architecture
from tests.vlmzoo.models.test_eagle import make_batch, make_picture
from vlmzoo import build_model, load_model
from vlmzoo.checkpoint.saving import save_model
from vlmzoo.data.tiling import Tiling
from vlmzoo.errors import ConfigError
from vlmzoo.zoo.arithmetic import count_image_tokens
from vlmzoo.zoo.card import read_architecture

sides = st.integers(1, 3000)


def make_tiled(**tiling):
    architecture = make_eagle_architecture()
    architecture["processor"] = {**architecture["processor"], "tiling": {"max_tiles": 4, **tiling}}
    return architecture


@given(sides, sides, st.integers(1, 12), st.sampled_from(["aspect", "area"]))
def test_there_are_never_more_tiles_than_allowed(height, width, most, rule):
    columns, rows = Tiling(max_tiles=most, rule=rule).grid((height, width), tile=64)
    assert 1 <= columns * rows <= most


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["aspect", "area"]))
def test_a_picture_that_is_a_grid_of_tiles_is_cut_into_these(columns, rows, rule):
    tiling = Tiling(max_tiles=columns * rows, rule=rule, thumbnail=False)
    picture = make_picture(0, size=(rows * 64, columns * 64))
    grid = tiling.grid((picture.height, picture.width), tile=64)
    assert grid[0] * rows == grid[1] * columns  # of the same aspect; the area rule is content with 0.6 of the area
    if rule == "aspect":
        tiles = tiling.cut(picture, tile=64)
        whole = Image.new("RGB", picture.size)
        for number, tile in enumerate(tiles):
            whole.paste(tile, (64 * (number % columns), 64 * (number // columns)))
        assert grid == (columns, rows) and whole.tobytes() == picture.tobytes()


def test_the_area_rule_takes_no_more_tiles_than_the_area_needs():
    assert Tiling(max_tiles=12, rule="area").grid((448, 448), tile=448) == (1, 1)
    assert Tiling(max_tiles=12, rule="area").grid((896, 1792), tile=448) == (4, 2)


def test_a_thumbnail_follows_where_there_are_several():
    tiling = Tiling(max_tiles=4)
    assert (tiling.count((64, 128), tile=64), tiling.count((64, 64), tile=64)) == (3, 1)
    assert [tile.size for tile in tiling.cut(make_picture(0, size=(64, 128)), tile=64)] == [(64, 64)] * 2 + [(128, 64)]


def test_every_way_into_the_model_gives_as_many_placeholders_as_tiles_fill(tmp_path):
    architecture = make_tiled()
    model = build_model(architecture)
    processor, picture = model.processor, make_picture(0, size=(64, 128))
    assert processor.count_image_tokens([(64, 128), (64, 64)]) == [3 * 4, 4]
    assert count_image_tokens(read_architecture(architecture), (64, 128)) == 12
    called = processor(text=["<image> a", "<image><image> b"], images=[picture] * 3, padding=True, return_tensors="pt")
    assert called["pixel_values"].shape == (9, 3, 64, 64) and "num_patches" not in called
    assert (called["input_ids"] == model.config.image_token_id).sum(1).tolist() == [12, 24]
    encoded = processor.encode_images([picture])
    assert torch.equal(encoded["pixel_values"], called["pixel_values"][:3])
    batch = make_batch(model, [1, 0, 2])
    assert "num_patches" not in batch.inputs
    with torch.no_grad():
        assert model(**batch.inputs).loss.isfinite()
        again, _ = load_model(save_model(model, processor, tmp_path / "model"))
        assert again.processor.tiling == {"max_tiles": 4}
        assert torch.equal(again(**batch.inputs).logits, model(**batch.inputs).logits)


def test_several_completions_of_a_row_see_all_of_its_tiles():
    model = build_model(make_tiled())
    batch = make_batch(model, [1, 2])
    ids, kept = model._expand_inputs_for_generation(
        expand_size=2, input_ids=batch.inputs["input_ids"], pixel_values=batch.inputs["pixel_values"]
    )
    assert kept["pixel_values"].shape[0] == 2 * batch.inputs["pixel_values"].shape[0]
    assert (ids == model.config.image_token_id).sum() == kept["pixel_values"].shape[0] * model.num_image_tokens


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        ({"max_tiles": 0}, "at least 1 and at most `max_tiles`, but they are 1 and 0"),
        ({"min_tiles": 5}, "but they are 5 and 4"),
        ({"rule": "size"}, "must be aspect or area, but is 'size'"),
        ({"max_tile": 3}, "takes no `max_tile`. Did you mean `max_tiles`?"),
    ],
)
def test_tiling_that_cannot_be_is_refused(tiling, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        _ = build_model(make_tiled(**tiling), device="meta").processor
