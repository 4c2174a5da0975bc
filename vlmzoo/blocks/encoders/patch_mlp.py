"""Patches that are encoded each on its own, without attention among them.

Letters: B images, C channels, (H, W) pixels, (h, w) rows and columns of patches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError

__all__ = ["PatchMlpEncoder"]


@ENCODERS.register(
    "patch_mlp",
    source="patches without an encoder: Fuyu-8B (Adept, 2023); MLP of a block: ViT, arXiv:2010.11929, equation 3; "
    "positions by row and column: NaViT, arXiv:2307.06304, section 2.1",
    tiny={"image_size": 28, "patch_size": 14, "hidden_size": 16},
)
class PatchMlpEncoder(Encoder):
    """A linear projection of each patch, its row and column, and residual MLPs: ``(B, 3, H, W)`` to ``(B, C, h, w)``.

    What a token says is about its own patch alone, as a word's embedding is about the word. A vision transformer of the
    same size can also tell facts of the whole picture in any token, such as how many cells are marked, and a small
    language model may learn to lean on those instead of reading (measured: docs/results/s2h.md).

    Args:
        image_size: side or (height, width) of the input, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: C.
        num_layers: residual MLPs; 0 leaves the projection and the positions alone.
        mlp_ratio: width inside an MLP, in C.
        position_std: standard deviation that the embeddings of rows and of columns start with; patches have about 1.

    Raises:
        ConfigError: if the image is not whole patches, or there are fewer than 0 layers.
    """

    def __init__(
        self,
        *,
        image_size: int | Sequence[int],
        patch_size: int,
        hidden_size: int,
        num_layers: int = 1,
        mlp_ratio: float = 4.0,
        position_std: float = 0.5,
    ) -> None:
        super().__init__()
        self.image_size = as_height_width(image_size)
        if any(side % patch_size for side in self.image_size):
            raise ConfigError(
                f"`image_size` must be whole patches of {patch_size} pixels, but is {self.image_size} instead."
            )
        if num_layers < 0:
            raise ConfigError(f"`num_layers` must be 0 or more, but is {num_layers} instead.")
        self.grid_size = (self.image_size[0] // patch_size, self.image_size[1] // patch_size)
        self.out_channels = hidden_size
        self.patches = nn.Conv2d(3, hidden_size, kernel_size=patch_size, stride=patch_size)
        self.rows = nn.Parameter(torch.empty(1, hidden_size, self.grid_size[0], 1))
        self.columns = nn.Parameter(torch.empty(1, hidden_size, 1, self.grid_size[1]))
        self.layers = nn.ModuleList([_ResidualMlp(hidden_size, mlp_ratio) for _ in range(num_layers)])
        nn.init.trunc_normal_(self.rows, std=position_std)
        nn.init.trunc_normal_(self.columns, std=position_std)
        nn.init.trunc_normal_(self.patches.weight, std=(3 * patch_size**2) ** -0.5)

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        patches = self.patches(pixel_values.to(self.dtype))  # (B, C, h, w)
        tokens = (patches + self.rows + self.columns).movedim(1, -1)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.movedim(-1, 1)


class _ResidualMlp(nn.Module):
    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        layers = nn.Linear(width, int(width * ratio)), nn.Linear(int(width * ratio), width)
        self.mlp = nn.Sequential(layers[0], nn.GELU(), layers[1])
        for linear in layers:
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.mlp(self.norm(tokens))
