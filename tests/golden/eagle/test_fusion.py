"""The authors' channel concatenation with stub towers: what each receives, and how the maps come together."""

from math import isqrt

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of
from vlmzoo.blocks.fusion import FUSIONS, resize_bilinear

GOLDEN = ("eagle", "fusion_*.json")


def feature_maps_of(golden):
    tensors = tensors_of(golden)
    features = [tensors[f"tower{number}.features"] for number in range(len(golden.content["towers"]))]
    return [f if f.ndim == 4 else f.transpose(1, 2).unflatten(2, [isqrt(f.shape[1])] * 2) for f in features]


def test_every_encoder_receives_the_image_at_its_own_size(golden):
    tensors = tensors_of(golden)
    for number, tower in enumerate(golden.content["towers"]):
        size = (tower["input_image_size"],) * 2
        assert_golden(resize_bilinear(tensors["image"], size), tensors[f"tower{number}.input"], golden)


def test_fused_tokens_equal_the_authors(golden):
    maps = feature_maps_of(golden)
    fusion = FUSIONS.build(
        {"type": "channel_concat", "grid_size": golden.content["grid_size"]},
        channels=[feature_map.shape[1] for feature_map in maps],
        grid_sizes=[tuple(feature_map.shape[2:]) for feature_map in maps],
    )
    expected = tensors_of(golden)["fused"]
    assert (fusion.num_tokens, fusion.out_dim) == tuple(expected.shape[1:])
    assert_golden(fusion(maps), expected, golden)


def test_half_precision_is_resized_in_float32_and_stays_half(golden):
    for feature_map in feature_maps_of(golden):
        half = feature_map.to(torch.bfloat16)
        found = resize_bilinear(half, (5, 5))
        assert torch.equal(found, resize_bilinear(half.float(), (5, 5)).to(torch.bfloat16))
