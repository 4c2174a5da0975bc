"""SAM's image encoder: a vision transformer with windows and relative positions.

Letters: I images, D width, A heads, E width of a head, (h, w) grid, W side of a window, N windows, C channels.
"""

from collections.abc import Sequence
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vlmzoo.blocks.decoders._layers import ChannelNorm, FeedForward

__all__ = ["SamImageEncoder"]


class SamImageEncoder(nn.Module):
    """A ViT whose blocks attend within windows, but for a few that see the whole image.

    Source: Segment Anything, arXiv:2304.02643, appendix A; ViTDet, arXiv:2203.16527.

    Args:
        image_size: S, side of the input in pixels.
        patch_size: side of a patch in pixels.
        dim: D.
        depth: number of blocks.
        num_heads: A.
        mlp_ratio: width of the feed-forward part, as a multiple of D.
        global_blocks: indices of the blocks that see the whole image.
        window_size: W, in patches.
        out_dim: C.
        norm_eps: of the layer norms in the blocks.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        global_blocks: Sequence[int],
        window_size: int,
        out_dim: int,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        side = image_size // patch_size
        self.patch_embed = _PatchEmbedding(dim, patch_size=patch_size)
        self.pos_embed = nn.Parameter(torch.empty(1, side, side, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(
            _Block(
                dim,
                num_heads=num_heads,
                inner=int(dim * mlp_ratio),
                window=0 if number in global_blocks else window_size,
                side=side,
                norm_eps=norm_eps,
            )
            for number in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, out_dim, kernel_size=1, bias=False),
            ChannelNorm(out_dim),
            nn.Conv2d(out_dim, out_dim, kernel_size=3, padding=1, bias=False),
            ChannelNorm(out_dim),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode ``(I, 3, S, S)`` to ``(I, C, h, w)``; in float16 the neck, which would overflow, runs in float32."""
        cells = self.patch_embed(pixels) + self.pos_embed
        for block in self.blocks:
            cells = block(cells)
        maps = cells.movedim(-1, 1)
        if maps.dtype is not torch.float16:
            return self.neck(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return _in_float32(self.neck, maps).to(maps.dtype)


class _PatchEmbedding(nn.Module):
    def __init__(self, dim: int, *, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).movedim(1, -1)


class _Block(nn.Module):
    """One transformer block on ``(I, h, w, D)``; a window of 0 is the whole image."""

    def __init__(self, dim: int, *, num_heads: int, inner: int, window: int, side: int, norm_eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = _Attention(dim, num_heads=num_heads, side=window or side)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = FeedForward(dim, inner=inner, activation=F.gelu)
        self.window = window

    def forward(self, cells: Tensor) -> Tensor:
        normed = self.norm1(cells)
        cells = cells + (self._in_windows(normed) if self.window else self.attn(normed))
        return cells + self.mlp(self.norm2(cells))

    def _in_windows(self, cells: Tensor) -> Tensor:
        """Attend within windows; the grid is padded below and to the right to whole ones."""
        (height, width), side = cells.shape[1:3], self.window
        padded = F.pad(cells, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        windows = rearrange(padded, "i (r h) (c w) d -> (i r c) h w d", h=side, w=side)
        joined = rearrange(self.attn(windows), "(i r c) h w d -> i (r h) (c w) d", r=rows, c=columns)
        return joined[:, :height, :width]


class _Attention(nn.Module):
    """Attention with decomposed relative positions: a bias for the distance in rows, and one in columns.

    The bias of a query and a key is ``q · R[row distance] + q · R[column distance]``. Both are dot products, so they
    go into the attention as further channels of queries and keys, and no bias for each pair is ever stored.
    """

    def __init__(self, dim: int, *, num_heads: int, side: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.side = side
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        head_dim = dim // num_heads
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, head_dim))

    def forward(self, cells: Tensor) -> Tensor:
        """Attend among the cells of each ``(N, h, w, D)``."""
        height, width = cells.shape[1:3]
        packed = rearrange(self.qkv(cells), "n h w (three a e) -> three n a (h w) e", three=3, a=self.num_heads)
        query, key, value = packed.unbind(0)
        by_row, by_column = self._position_scores(query, height, width)
        query = torch.cat([query * query.shape[-1] ** -0.5, by_row, by_column], dim=-1)
        places = _one_hot_places(height, width, cells.device, cells.dtype)
        key = torch.cat([key, places.expand(*key.shape[:2], -1, -1)], dim=-1)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.proj(rearrange(mixed, "n a (h w) e -> n h w (a e)", h=height))

    def _position_scores(self, query: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return what each query ``(N, A, h·w, E)`` gives to each row and to each column of keys."""
        rows, columns = (self._distances(size, query.device) for size in (height, width))
        grid = rearrange(query, "n a (h w) e -> n a h w e", h=height)
        by_row = torch.einsum("nahwe,hke->nahwk", grid, self.rel_pos_h[rows])
        by_column = torch.einsum("nahwe,wke->nahwk", grid, self.rel_pos_w[columns])
        return by_row.flatten(2, 3), by_column.flatten(2, 3)

    def _distances(self, size: int, device: torch.device) -> Tensor:
        """Return the row of the table for each query and key, ``(size, size)``."""
        places = torch.arange(size, device=device)
        return places[:, None] - places[None, :] + (self.side - 1)


@cache
def _one_hot_places(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Mark the row and the column of each cell: ``(h·w, h + w)``."""
    rows = torch.eye(height, device=device, dtype=dtype).repeat_interleave(width, dim=0)
    columns = torch.eye(width, device=device, dtype=dtype).repeat(height, 1)
    return torch.cat([rows, columns], dim=-1)


def _in_float32(layers: nn.Sequential, maps: Tensor) -> Tensor:
    """Run convolutions and channel norms in float32, whatever their weights are stored in."""
    maps = maps.float()
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            padding = cast("tuple[int, int]", layer.padding)
            maps = F.conv2d(maps, layer.weight.float(), padding=padding)
        else:
            norm = cast("ChannelNorm", layer)
            cells = F.layer_norm(
                maps.movedim(1, -1), norm.weight.shape, norm.weight.float(), norm.bias.float(), norm.norm_eps
            )
            maps = cells.movedim(-1, 1)
    return maps
