"""A perceiver resampler between encoder and language model: few tokens, whatever the picture.

Source: Flamingo, arXiv:2204.14198, section 3.1 and figure 5; V*, arXiv:2312.14135, uses it for objects and for images
in short form.
Letters: B images, N visual tokens, C channels, Q latents, D width of the language model's tokens.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vlmzoo.blocks.projectors import PROJECTORS

__all__ = ["PerceiverProjector", "PerceiverResampler"]


class _LatentAttention(nn.Module):
    """Latents look at the tokens and at themselves."""

    def __init__(self, *, dim: int, head_dim: int, num_heads: int) -> None:
        super().__init__()
        inner = head_dim * num_heads
        self.num_heads = num_heads
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """Return an update ``(B, Q, C)`` of latents ``(B, Q, C)`` from tokens ``(B, N, C)``."""
        tokens, latents = self.norm_media(tokens), self.norm_latents(latents)
        keys, values = self.to_kv(torch.cat([tokens, latents], dim=1)).chunk(2, dim=-1)
        heads = [rearrange(x, "b n (h d) -> b h n d", h=self.num_heads) for x in (self.to_q(latents), keys, values)]
        found = scaled_dot_product_attention(*heads)
        return self.to_out(rearrange(found, "b h n d -> b n (h d)"))


class _Layer(nn.ModuleList):
    """Attention and a feed-forward layer; a list, because published keys number the two."""

    def __init__(self, *, dim: int, head_dim: int, num_heads: int, feedforward_factor: int) -> None:
        attention = _LatentAttention(dim=dim, head_dim=head_dim, num_heads=num_heads)
        feedforward = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, dim * feedforward_factor, bias=False),
            nn.GELU(),
            nn.Linear(dim * feedforward_factor, dim, bias=False),
        )
        super().__init__([attention, feedforward])

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """Update latents ``(B, Q, C)`` from tokens ``(B, N, C)``."""
        attention, feedforward = self
        latents = attention(tokens, latents) + latents
        return feedforward(latents) + latents


class PerceiverResampler(nn.Module):
    """Turn any number of visual tokens into Q.

    Args:
        dim: C.
        depth: layers of attention and feed-forward.
        head_dim: width of a head.
        num_heads: of each attention.
        num_latents: Q.
        feedforward_factor: width of the feed-forward layers, as a multiple of C.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int = 6,
        head_dim: int = 96,
        num_heads: int = 16,
        num_latents: int = 32,
        feedforward_factor: int = 4,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(num_latents, dim))
        self.media_pos_emb = nn.Parameter(torch.randn(1, 1, dim))
        self.layers = nn.ModuleList(
            _Layer(dim=dim, head_dim=head_dim, num_heads=num_heads, feedforward_factor=feedforward_factor)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Resample ``(B, N, C)`` to ``(B, Q, C)``."""
        tokens = tokens + self.media_pos_emb[0]
        latents = self.latents.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            latents = layer(tokens, latents)
        return self.norm(latents)


@PROJECTORS.register(
    "perceiver",
    source="V*, arXiv:2312.14135, section 3; Flamingo, arXiv:2204.14198, section 3.1",
    tiny={"in_dim": 8, "out_dim": 6, "depth": 1, "head_dim": 4, "num_heads": 2, "num_latents": 3},
)
class PerceiverProjector(nn.Sequential):
    """Norm, resampler and a linear layer: ``(B, N, C)`` to ``(B, Q, D)``; published keys begin ``0.``, ``1.``, ``2.``.

    Args:
        in_dim: C.
        out_dim: D.
        depth: layers of the resampler.
        head_dim: width of a head.
        num_heads: of each attention.
        num_latents: Q.
    """

    def __init__(
        self,
        *,
        in_dim: int,
        out_dim: int,
        depth: int = 6,
        head_dim: int = 96,
        num_heads: int = 16,
        num_latents: int = 32,
    ) -> None:
        resampler = PerceiverResampler(
            dim=in_dim, depth=depth, head_dim=head_dim, num_heads=num_heads, num_latents=num_latents
        )
        super().__init__(nn.LayerNorm(in_dim), resampler, nn.Linear(in_dim, out_dim))
        self.num_latents = num_latents
