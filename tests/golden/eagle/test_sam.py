"""SAM's encoder with the authors' short neck."""

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of, tower_weights_of
from vlmzoo.blocks.encoders import ENCODERS

GOLDEN = ("eagle", "sam_*.json")


@torch.no_grad()
def test_features_equal_the_authors(golden):
    config, tensors = golden.content["config"], tensors_of(golden)
    encoder = ENCODERS.build(
        {
            "type": "sam_vit",
            "image_size": config["image_size"],
            "patch_size": config["patch_size"],
            "hidden_size": config["hidden_size"],
            "intermediate_size": config["mlp_dim"],
            "num_layers": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "window_size": config["window_size"],
            "global_layers": config["global_attn_indexes"],
            "neck_channels": config["output_channels"],
        }
    ).eval()
    encoder.vision.load_state_dict(tower_weights_of(golden))
    assert_golden(encoder(tensors["image"]), tensors["features"], golden)
