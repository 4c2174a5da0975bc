"""How a mask decoder starts that has no published weights to start from."""

import math

import torch
from torch import nn

__all__ = ["SCRATCH_POSITION_STD", "start_from_scratch", "widen"]

SCRATCH_POSITION_STD = 0.5
"""Standard deviation of the image encoder's position embeddings; 0.02, SAM's, is far below the scale of its patches."""


def start_from_scratch(decoder: nn.Module) -> None:
    """Widen the weights that turn prompts into masks, and draw the positions of the image encoder anew.

    Measured on scenes of shapes (docs/results/seg.md): with torch's own start the masks still ignored the prompt after
    450 steps, with this one they heeded it from step 200 on.

    Args:
        decoder: of the registry, or SEAL's detector; parts whose names begin with ``mask_decoder``, ``prompt_encoder``
            or ``visual_projection`` are widened.
    """
    for name, module in decoder.named_modules():
        if name.startswith(("mask_decoder", "prompt_encoder", "visual_projection")):
            widen(module, gain=1.0)
        positions = getattr(module, "pos_embed", None)
        if isinstance(positions, nn.Parameter):
            nn.init.trunc_normal_(positions, std=SCRATCH_POSITION_STD)
        if isinstance(module, nn.Embedding) and name.endswith("position_embedding"):
            nn.init.trunc_normal_(module.weight, std=SCRATCH_POSITION_STD)
        if isinstance(module, nn.Conv2d) and name.endswith("patch_embedding"):  # CLIP's 0.02 drowns in the positions
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)


@torch.no_grad()
def widen(module: nn.Module, *, gain: float) -> None:
    """Scale a fresh layer's weights so that their deviation is ``gain / sqrt(fan in)``; others stay as they are.

    torch draws the weights of linear and convolutional layers with a deviation of ``1 / sqrt(3 * fan in)``, which makes
    what passes through many layers small.

    Args:
        module: just made, its weights as torch drew them.
        gain: 1, or sqrt(2) behind a rectifier.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        module.weight.mul_(gain * math.sqrt(3.0))
