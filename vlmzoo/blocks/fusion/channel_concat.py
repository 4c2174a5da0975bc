"""Channel concatenation, the fusion that Eagle keeps after comparing the alternatives."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from vlmzoo.blocks.fusion import FUSIONS, Fusion, resize_bilinear
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError

__all__ = ["ChannelConcatFusion"]


@FUSIONS.register(
    "channel_concat",
    source="Eagle, arXiv:2408.15998, section 3; folding: Eagle 2, arXiv:2501.14818, section 3",
    tiny={"channels": [4, 6], "grid_sizes": [(2, 2), (3, 3)], "grid_size": 2},
)
class ChannelConcatFusion(Fusion):
    """Bring every map to one grid, and lay the channels of a position side by side.

    Args:
        channels: C_k of each encoder, in the order in which the maps will arrive.
        grid_sizes: (h_k, w_k) of each.
        grid_size: side or (height, width) of the common grid, in positions; None takes the finest of the encoders'.
        fold: side of the neighbourhood that becomes one token of ``fold ** 2`` times the channels; Eagle 2 folds 2.

    Raises:
        ConfigError: if a map's sides are in another ratio than the grid's, so that their positions cannot meet, or the
            grid cannot be folded.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        grid_sizes: Sequence[tuple[int, int]],
        grid_size: int | Sequence[int] | None = None,
        fold: int = 1,
    ) -> None:
        super().__init__(channels=channels, grid_sizes=grid_sizes)
        finest = max(grid_sizes, key=lambda grid: grid[0] * grid[1])
        self.grid_size = as_height_width(finest if grid_size is None else grid_size, name="grid_size")
        height, width = self.grid_size
        for number, (own_height, own_width) in enumerate(grid_sizes):
            if own_height * width != own_width * height:
                raise ConfigError(
                    f"Encoder {number} has a grid of {own_height} x {own_width} positions, which cannot meet the "
                    f"common grid of {height} x {width}: its sides must be in the same ratio. Give all encoders images "
                    "of one shape."
                )
        if fold < 1 or height % fold or width % fold:
            raise ConfigError(f"`fold` must divide the grid of {height} x {width}, but is {fold} instead.")
        self.fold = fold
        self.num_tokens = height * width // fold**2
        self.out_dim = sum(channels) * fold**2

    def fuse(self, feature_maps: Sequence[Tensor]) -> Tensor:
        """Fuse K maps of the right shapes into ``(B, N, C)``."""
        joined = torch.cat([resize_bilinear(feature_map, self.grid_size) for feature_map in feature_maps], dim=1)
        return rearrange(joined, "b c (h p) (w q) -> b (h w) (p q c)", p=self.fold, q=self.fold)
