"""EVA-02's windows, positions and blocks as the authors compute them."""

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of, tower_weights_of, weights_of
from vlmzoo.blocks.encoders import ENCODERS

GOLDEN = ("eagle", "eva_*.json")


def build(golden):
    config = golden.content["config"]
    windowed = set(config["window_block_indexes"])
    encoder = ENCODERS.build(
        {
            "type": "eva02_det",
            "image_size": config["img_size"],
            "native_size": config["pretrain_img_size"],
            "patch_size": config["patch_size"],
            "hidden_size": config["embed_dim"],
            "num_layers": config["depth"],
            "num_heads": config["num_heads"],
            "mlp_ratio": config["mlp_ratio"],
            "window_size": config["window_size"],
            "global_layers": [layer for layer in range(config["depth"]) if layer not in windowed],
        }
    ).eval()
    encoder.vision.load_state_dict(tower_weights_of(golden))
    return encoder


@torch.no_grad()
def test_features_equal_the_authors(golden):
    tensors = tensors_of(golden)
    assert_golden(build(golden)(tensors["image"]), tensors["features"], golden)


def test_the_rotary_tables_that_files_hold_are_those_that_we_compute(golden):
    weights, encoder = weights_of(golden), build(golden)
    for name, side in (("rope_win", encoder.vision.window_size), ("rope_glb", encoder.vision.side)):
        sin, cos = encoder.vision._rotary(side, torch.device("cpu")).chunk(2, dim=-1)
        assert_golden(sin, weights[f"{name}.freqs_sin"], golden)
        assert_golden(cos, weights[f"{name}.freqs_cos"], golden)
