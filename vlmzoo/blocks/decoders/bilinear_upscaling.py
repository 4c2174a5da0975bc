"""SEAL's upscaling of heat maps, in the place of SAM's transposed convolutions.

Letters: K maps, C channels, (g, g) grid.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from vlmzoo.blocks.decoders._layers import ChannelNorm

__all__ = ["bilinear_upscaling"]


class _ScaledConvolution(nn.Module):
    """Twice the size, bilinearly, then a convolution of 3 × 3: ``(K, C, g, g)`` to ``(K, out, 2 g, 2 g)``."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, kernel_size=3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False))


def bilinear_upscaling(dim: int) -> nn.Sequential:
    """Return a fourfold upscaling in each direction: ``(K, C, g, g)`` to ``(K, C / 8, 4 g, 4 g)``.

    Source: V*, arXiv:2312.14135; penghao-wu/vstar@4ede664, the mask decoder of its search model.
    """
    return nn.Sequential(
        _ScaledConvolution(dim, dim // 4),
        ChannelNorm(dim // 4),
        nn.GELU(),
        _ScaledConvolution(dim // 4, dim // 8),
        nn.GELU(),
    )
