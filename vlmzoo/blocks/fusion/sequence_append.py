"""Sequence append: the tokens of one encoder after those of another, the alternative that Eagle compares with."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from vlmzoo.blocks.fusion import FUSIONS, Fusion, resize_bilinear
from vlmzoo.blocks.sizes import as_height_width

__all__ = ["SequenceAppendFusion"]


@FUSIONS.register(
    "sequence_append",
    source="Eagle, arXiv:2408.15998, section 3 (fusion strategies)",
    tiny={"channels": [4, 6], "grid_sizes": [(2, 2), (3, 3)]},
)
class SequenceAppendFusion(Fusion):
    """Bring every encoder's tokens to one width, and lay them one behind the other, encoder by encoder.

    Args:
        channels: C_k of each encoder, in the order in which the maps will arrive.
        grid_sizes: (h_k, w_k) of each.
        width: C, to which a linear layer brings the tokens of an encoder that has other channels; None takes the
            largest C_k.
        grid_size: side or (height, width) to which every map is brought first; None leaves them their own.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        grid_sizes: Sequence[tuple[int, int]],
        width: int | None = None,
        grid_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(channels=channels, grid_sizes=grid_sizes)
        common = None if grid_size is None else as_height_width(grid_size, name="grid_size")
        self.grid_sizes = tuple(common or grid for grid in grid_sizes)
        self.out_dim = width or max(channels)
        self.widen = nn.ModuleList(
            nn.Identity() if count == self.out_dim else nn.Linear(count, self.out_dim) for count in channels
        )
        self.num_tokens = sum(height * width for height, width in self.grid_sizes)

    def fuse(self, feature_maps: Sequence[Tensor]) -> Tensor:
        """Fuse K maps of the right shapes into ``(B, N, C)``."""
        parts = zip(self.widen, feature_maps, self.grid_sizes, strict=True)
        tokens = [
            widen(rearrange(resize_bilinear(feature_map, grid), "b c h w -> b (h w) c"))
            for widen, feature_map, grid in parts
        ]
        return torch.cat(tokens, dim=1)
