"""ConvNeXt's last stage as the authors read it."""

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of, tower_weights_of
from vlmzoo.blocks.encoders import ENCODERS

GOLDEN = ("eagle", "convnext_*.json")


@torch.no_grad()
def test_features_equal_the_authors(golden):
    config, tensors = golden.content["config"], tensors_of(golden)
    encoder = ENCODERS.build(
        {
            "type": "convnext",
            "image_size": list(tensors["image"].shape[-2:]),
            "depths": config["depths"],
            "dims": config["dims"],
            "num_classes": config["num_classes"],
        }
    ).eval()
    encoder.vision.load_state_dict(tower_weights_of(golden))
    assert_golden(encoder(tensors["image"]).flatten(2).transpose(1, 2), tensors["features"], golden)
