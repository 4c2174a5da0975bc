"""Pix2Struct's patches, standardised per image, and its features; ours come from tensors, a batch at once."""

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of, tower_weights_of
from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.fusion import resize_bilinear

GOLDEN = ("eagle", "pix2struct_*.json")


def build(golden):
    config, size = golden.content["config"], tensors_of(golden)["image"].shape[-1]
    encoder = ENCODERS.build(
        {
            "type": "pix2struct",
            "image_size": size,
            "patch_size": config["patch_size"],
            "max_patches": config["max_patches"],
            "hidden_size": config["hidden_size"],
            "intermediate_size": config["d_ff"],
            "num_layers": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "max_side": config["seq_len"],
        }
    ).eval()
    encoder.vision.load_state_dict(tower_weights_of(golden))
    return encoder


def test_patches_equal_the_authors_which_pad(golden):
    tensors = tensors_of(golden)
    patches = build(golden).patches(tensors["image"])
    is_token = tensors["attention_mask"].bool()
    assert patches.shape[:2] == (len(is_token), int(is_token[0].sum()))
    assert_golden(patches[:, :4], tensors["patches_first4"], golden)
    assert torch.equal(patches[..., :2].flatten(0, 1), tensors["patches_rowcol"][is_token])


@torch.no_grad()
def test_features_equal_the_authors(golden):
    tensors = tensors_of(golden)
    feature_map = build(golden)(tensors["image"])
    assert_golden(resize_bilinear(feature_map, tensors["features"].shape[-2:]), tensors["features"], golden)


@torch.no_grad()
def test_an_image_is_the_same_alone_and_in_a_batch(golden):
    image, encoder = tensors_of(golden)["image"][:1], build(golden)
    others = torch.cat([image, image.flip(-1) * 3, torch.zeros_like(image)])  # one of them even, of deviation 0
    torch.testing.assert_close(encoder(others)[:1], encoder(image), atol=1e-5, rtol=0)
    assert encoder(others).isfinite().all()
