"""The object projector against the authors' own class."""

import torch
from safetensors.torch import load_file

from vlmzoo.blocks.projectors.perceiver import PerceiverProjector

GOLDEN = ("fast", "d2_perceiver/*.json")


def make(golden):
    tensors, config = load_file(golden.path.with_suffix(".safetensors")), golden.content["cfg"]
    assert config["num_media_embeds"] == 1
    assert config["ff_mult"] == 4
    projector = PerceiverProjector(
        in_dim=config["dim"],
        out_dim=config["out"],
        depth=config["depth"],
        head_dim=config["dim_head"],
        num_heads=config["heads"],
        num_latents=config["num_latents"],
    )
    weights = {name.removeprefix("w."): value for name, value in tensors.items() if name.startswith("w.")}
    projector.load_state_dict(weights)
    return projector, tensors


@torch.no_grad()
def test_output_is_the_authors(golden):
    projector, tensors = make(golden)
    torch.testing.assert_close(projector(tensors["in.x"]), tensors["out.y"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_resampled_tokens_are_the_authors(golden):
    projector, tensors = make(golden)
    norm, resampler, _ = projector
    found = resampler(norm(tensors["in.x"]))
    torch.testing.assert_close(found, tensors["out.resampler"], rtol=0, atol=1e-5)
