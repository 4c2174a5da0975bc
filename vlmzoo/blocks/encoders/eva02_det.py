"""EVA-02 as it was trained for detection: attention within windows, and over the whole image in every third block.

Letters: S side of a window in patches, E width of an attention head.
"""

from collections.abc import Sequence
from functools import partial

import torch
from einops import rearrange
from timm.layers.pos_embed_sincos import build_rotary_pos_embed
from timm.models.eva import EvaBlock
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.encoders._vit import check_patches
from vlmzoo.errors import ConfigError

__all__ = ["Eva02DetEncoder"]

_REFERENCE_SIDE = 16
"""Side in patches of the image that rotary positions are told in units of; its own side is where they were learnt."""


class PatchEmbedding(nn.Module):
    """Patches to tokens: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed."""
        return self.proj(pixel_values)


class WindowedEva(nn.Module):
    """EVA-02's blocks over a square grid, some of them within windows.

    Args:
        side: of the grid, in patches.
        native_side: side for which the absolute positions were learnt.
        patch_size: side of a patch, in pixels.
        width: C.
        num_layers: blocks.
        num_heads: attention heads.
        mlp_ratio: width inside the feed-forward part over C; rounded down.
        window_size: S.
        global_layers: blocks that see the whole grid.
    """

    def __init__(
        self,
        *,
        side: int,
        native_side: int,
        patch_size: int,
        width: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float,
        window_size: int,
        global_layers: Sequence[int],
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.side, self.native_side, self.window_size = side, native_side, window_size
        self.head_dim = width // num_heads
        self.global_layers = frozenset(global_layers)
        self.patch_embed = PatchEmbedding(patch_size, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, native_side**2 + 1, width))  # the first is the class token's
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(
            EvaBlock(
                width,
                num_heads,
                qkv_fused=False,
                mlp_ratio=mlp_ratio,
                swiglu_mlp=True,
                scale_mlp=True,
                num_prefix_tokens=0,
                norm_layer=partial(nn.LayerNorm, eps=1e-6),
            )
            for _ in range(num_layers)
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        grid = self.patch_embed(pixel_values) + self._positions()
        whole, within = self._rotary(self.side, grid.device), self._rotary(self.window_size, grid.device)
        for number, block in enumerate(self.blocks):
            if number in self.global_layers:
                tokens = self._run(block, rearrange(grid, "b c h w -> b (h w) c"), whole)
                grid = rearrange(tokens, "b (h w) c -> b c h w", h=self.side)
            else:
                sides = {"s": self.window_size, "t": self.window_size}
                tokens = self._run(block, rearrange(grid, "b c (h s) (w t) -> (b h w) (s t) c", **sides), within)
                num = self.side // self.window_size
                grid = rearrange(tokens, "(b h w) (s t) c -> b c (h s) (w t)", h=num, w=num, **sides)
        return grid

    def _run(self, block: nn.Module, tokens: Tensor, rope: Tensor) -> Tensor:
        """Run one block, in training perhaps without keeping what its backward pass reads."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(block, tokens, rope, use_reentrant=False)
        return block(tokens, rope)

    def _positions(self) -> Tensor:
        """Return the absolute positions of the grid, ``(1, C, h, w)``; the class token's is not used."""
        native = rearrange(self.pos_embed[:, 1:], "1 (h w) c -> 1 c h w", h=self.native_side)
        if self.side == self.native_side:
            return native
        size = (self.side, self.side)
        return interpolate(native.float(), size=size, mode="bicubic", align_corners=False).to(native.dtype)

    def _rotary(self, side: int, device: torch.device) -> Tensor:
        """Return sines and cosines of the positions of a square in units of the reference: ``(side ** 2, 2 E)``.

        Source: EVA-02, arXiv:2303.11331, section 2.3.
        """
        reference = [_REFERENCE_SIDE, _REFERENCE_SIDE]
        sin, cos = build_rotary_pos_embed(
            [side, side], dim=self.head_dim, in_pixels=False, ref_feat_shape=reference, device=device
        )
        return torch.cat([sin, cos], dim=-1)


@ENCODERS.register(
    "eva02_det",
    source="EVA-02, arXiv:2303.11331, section 3.3 (detection); as Eagle reads it: NVlabs/EAGLE@fef95f1, "
    "eagle/model/multimodal_encoder/eva_vit.py",
    tiny={
        "image_size": 64,
        "native_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "num_layers": 3,
        "num_heads": 2,
        "window_size": 4,
        "global_layers": [2],
    },
)
class Eva02DetEncoder(Encoder):
    """The map behind EVA-02's last block; its defaults are EVA-02-L of the O365 and COCO detectors.

    Args:
        image_size: side of the square input, in pixels.
        native_size: side for which the weights have absolute positions, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: C, width of a token.
        num_layers: transformer blocks.
        num_heads: attention heads.
        mlp_ratio: width inside the feed-forward part over C; rounded down.
        window_size: side of the windows that attention is kept within, in patches.
        global_layers: blocks whose attention sees the whole image.

    Raises:
        ConfigError: if patches do not fill the image, windows do not fill the grid, or the width of a head has no four
            parts for the rotary positions.
    """

    def __init__(
        self,
        *,
        image_size: int = 1024,
        native_size: int = 224,
        patch_size: int = 16,
        hidden_size: int = 1024,
        num_layers: int = 24,
        num_heads: int = 16,
        mlp_ratio: float = 8 / 3,
        window_size: int = 16,
        global_layers: Sequence[int] = (2, 5, 8, 11, 14, 17, 20, 23),
    ) -> None:
        super().__init__()
        side = check_patches(image_size, patch_size)
        if window_size < 1 or side % window_size:
            raise ConfigError(f"`window_size` must divide the {side} patches of a side, but is {window_size} instead.")
        if hidden_size % (4 * num_heads):
            raise ConfigError(
                f"`hidden_size` must be a multiple of 4 x `num_heads` ({4 * num_heads}), but is {hidden_size} instead."
            )
        self.vision = WindowedEva(
            side=side,
            native_side=check_patches(native_size, patch_size),
            patch_size=patch_size,
            width=hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            window_size=window_size,
            global_layers=global_layers,
        )
        self.image_size = (image_size, image_size)
        self.grid_size = (side, side)
        self.out_channels = hidden_size

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        return self.vision(pixel_values.to(self.dtype))
