"""segment-anything: the authors' package as a back end of our SAM decoder, and as its oracle."""

import importlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vlmzoo.errors import MissingExtraError

__all__ = ["build_image_encoder", "build_mask_decoder"]


def build_image_encoder(
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
    norm_eps: float,
) -> nn.Module:
    """Build the package's image encoder; the arguments are those of our own.

    Raises:
        MissingExtraError: if the package is not installed.
    """
    encoder: nn.Module = _package().ImageEncoderViT(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=tuple(global_blocks),
        window_size=window_size,
        out_chans=out_dim,
        norm_layer=partial(nn.LayerNorm, eps=norm_eps),
    )
    return encoder


def build_mask_decoder(*, dim: int, depth: int, mlp_dim: int, num_heads: int, quality_dim: int) -> nn.Module:
    """Build the package's mask decoder, called as our own is.

    Raises:
        MissingExtraError: if the package is not installed.
    """
    package = _package()
    transformer = package.TwoWayTransformer(depth=depth, embedding_dim=dim, mlp_dim=mlp_dim, num_heads=num_heads)

    class Decoder(package.MaskDecoder):
        def forward(
            self, features: Tensor, positions: Tensor, *, sparse: Tensor, dense: Tensor, multimask: bool
        ) -> tuple[Tensor, Tensor]:
            """Decode prompt by prompt: the package takes one image a call."""
            if not len(sparse):
                grid = features.shape[-1] * 4
                num = self.num_multimask_outputs if multimask else 1
                return features.new_zeros((0, num, grid, grid)), features.new_zeros((0, num))
            call = super().forward
            found = [
                call(feature[None], positions, prompt[None], plane[None], multimask)
                for feature, prompt, plane in zip(features, sparse, dense, strict=True)
            ]
            logits, quality = zip(*found, strict=True)
            return torch.cat(logits), torch.cat(quality)

    decoder: nn.Module = Decoder(
        transformer_dim=dim, transformer=transformer, num_multimask_outputs=3, iou_head_hidden_dim=quality_dim
    )
    return decoder


def _package() -> Any:
    try:
        return importlib.import_module("segment_anything.modeling")
    except ImportError as error:
        raise MissingExtraError.for_package("segment-anything", "sam") from error
