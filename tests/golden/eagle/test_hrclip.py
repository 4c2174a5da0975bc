"""CLIP as the authors read it: no class token, no last norm, positions resampled where the size is another."""

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of, tower_weights_of
from vlmzoo.blocks.encoders import ENCODERS

GOLDEN = ("eagle", "hrclip_*.json")


def build(golden):
    config = golden.content["config"]
    encoder = ENCODERS.build(
        {
            "type": "clip_hr",
            "image_size": golden.content["input_size"],
            "native_size": config["image_size"],
            "patch_size": config["patch_size"],
            "hidden_size": config["hidden_size"],
            "intermediate_size": config["intermediate_size"],
            "num_layers": config["num_hidden_layers"],
            "num_heads": config["num_attention_heads"],
            "hidden_act": config["hidden_act"],
        }
    ).eval()
    encoder.vision.load_state_dict(tower_weights_of(golden))
    return encoder


@torch.no_grad()
def test_features_equal_the_authors(golden):
    tensors, encoder = tensors_of(golden), build(golden)
    assert_golden(encoder(tensors["image"]).flatten(2).transpose(1, 2), tensors["features"], golden)


@torch.no_grad()
def test_the_class_token_and_the_last_norm_are_not_read(golden):
    tensors, encoder = tensors_of(golden), build(golden)
    before = encoder(tensors["image"])
    for parameter in (encoder.vision.embeddings.class_embedding, *encoder.vision.post_layernorm.parameters()):
        parameter.add_(1.0)
    assert torch.equal(encoder(tensors["image"]), before)
