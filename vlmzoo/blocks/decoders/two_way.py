"""The two-way transformer: tokens look at an image, and the image looks back.

Letters: K rows, T tokens, N cells of the image, D width, A heads.
"""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vlmzoo.blocks.decoders._layers import FeedForward

__all__ = ["TwoWayTransformer"]


class TwoWayTransformer(nn.Module):
    """Blocks of attention among tokens, from tokens to the image, and from the image to tokens.

    Source: Segment Anything, arXiv:2304.02643, appendix A, "Mask decoder".

    Args:
        depth: number of blocks.
        dim: D.
        num_heads: A.
        mlp_dim: width of the feed-forward part.
        downsample: D over the width inside attention between tokens and image.
    """

    def __init__(self, *, depth: int, dim: int, num_heads: int, mlp_dim: int, downsample: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _TwoWayBlock(dim, num_heads=num_heads, mlp_dim=mlp_dim, downsample=downsample, is_first=number == 0)
            for number in range(depth)
        )
        self.final_attn_token_to_image = _Attention(dim, num_heads=num_heads, inner=dim // downsample)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the blocks.

        Args:
            image: ``(K, N, D)``.
            positions: ``(K, N, D)``, of the cells.
            tokens: ``(K, T, D)``, which are their own positions, too.

        Returns:
            Tokens ``(K, T, D)`` and image ``(K, N, D)``.
        """
        queries, keys = tokens, image
        for layer in self.layers:
            queries, keys = layer(queries, keys, token_positions=tokens, image_positions=positions)
        seen = self.final_attn_token_to_image(queries + tokens, keys + positions, keys)
        return self.norm_final_attn(queries + seen), keys


class _TwoWayBlock(nn.Module):
    def __init__(self, dim: int, *, num_heads: int, mlp_dim: int, downsample: int, is_first: bool) -> None:
        super().__init__()
        self.self_attn = _Attention(dim, num_heads=num_heads, inner=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = _Attention(dim, num_heads=num_heads, inner=dim // downsample)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, inner=mlp_dim, activation=F.relu)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = _Attention(dim, num_heads=num_heads, inner=dim // downsample)
        self.is_first = is_first

    def forward(
        self, tokens: Tensor, image: Tensor, *, token_positions: Tensor, image_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens and image; the first block's tokens are positions themselves, so it adds none."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_positions
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        placed_image = image + image_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_positions, placed_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed_image, tokens + token_positions, tokens))
        return tokens, image


class _Attention(nn.Module):
    """Attention of A heads whose channels may be fewer than D."""

    def __init__(self, dim: int, *, num_heads: int, inner: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Let ``(K, T, D)`` attend to ``(K, N, D)``."""
        projected = (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        heads = [rearrange(part, "k t (a e) -> k a t e", a=self.num_heads) for part in projected]
        return self.out_proj(rearrange(F.scaled_dot_product_attention(*heads), "k a t e -> k t (a e)"))
