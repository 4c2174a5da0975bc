"""The two-layer projector with exact GELU."""

import torch

from tests.golden.eagle.loading import assert_golden, tensors_of, weights_of
from vlmzoo.blocks.projectors import PROJECTORS

GOLDEN = ("eagle", "projector_*.json")


@torch.no_grad()
def test_projections_equal_the_authors(golden):
    tensors, weights = tensors_of(golden), weights_of(golden)
    x, y = tensors["x"], tensors["y"]
    projector = PROJECTORS.build({"type": "mlp2x_gelu"}, in_dim=x.shape[-1], out_dim=y.shape[-1])
    projector.load_state_dict(weights)
    assert_golden(projector(x), y, golden)
