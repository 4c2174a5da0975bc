"""What SEAL's search model looks with: OWL-ViT's tower, a box and a score for each of its cells, and a heat map.

Source: V*, arXiv:2312.14135, section 3.2 and appendix; OWL-ViT, arXiv:2205.06230, section 3.1.
Letters: I images, K queries, C channels, (g, g) grid of Q = g · g cells, S side of the input, A width of a query, E
width of a prompt.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import OwlViTVisionConfig, OwlViTVisionModel

from vlmzoo.blocks.decoders import ImageEncoding
from vlmzoo.blocks.decoders.bilinear_upscaling import bilinear_upscaling
from vlmzoo.blocks.decoders.mask_head import MaskHead
from vlmzoo.blocks.decoders.sam_prompt_encoder import PromptEncoder
from vlmzoo.blocks.decoders.two_way import TwoWayTransformer
from vlmzoo.errors import ConfigError

__all__ = ["OwlVitDetector", "OwlVitTower", "cell_bias"]

_NORM_EPS = 1e-6
_LOG_EPS = 1e-4


class OwlVitDetector(ImageEncoding):
    """Finds what a query means: boxes with scores, and where it may be.

    Args:
        image_size: S, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: C.
        intermediate_size: width inside the tower's feed-forward parts.
        num_layers: of the tower.
        num_heads: of the tower.
        query_dim: A.
        prompt_dim: E.
        decoder_depth: blocks of the two-way transformer.
        decoder_mlp_dim: width of their feed-forward parts.
        decoder_heads: of the two-way transformer.
        quality_dim: inner width of what guesses a mask's quality; its guess is not used.
        mask_channels: of the unused part that embeds drawn masks.

    Raises:
        ConfigError: if sizes do not fit one another.
    """

    encoder_parts: Sequence[str] = ("owlvit.vision_model.",)
    trainable_parts: Sequence[str] = (
        "visual_projection.",
        "prompt_encoder.no_mask_embed.",
        "mask_decoder.",
        "owlvit.class_head.",
        "owlvit.layer_norm.",
    )
    """Beginnings of the names of the parameters that learn by default, as the authors have it."""

    def __init__(
        self,
        *,
        image_size: int = 768,
        patch_size: int = 16,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        query_dim: int = 512,
        prompt_dim: int = 256,
        decoder_depth: int = 2,
        decoder_mlp_dim: int = 2048,
        decoder_heads: int = 8,
        quality_dim: int = 256,
        mask_channels: int = 16,
    ) -> None:
        super().__init__()
        if image_size % patch_size or hidden_size % num_heads or prompt_dim % 8 or (prompt_dim // 2) % decoder_heads:
            raise ConfigError(
                "A detector needs `patch_size` to divide `image_size`, `num_heads` to divide `hidden_size`, 8 to "
                "divide `prompt_dim` and `decoder_heads` to divide half of it, but has "
                f"{(image_size, patch_size, hidden_size, num_heads, prompt_dim, decoder_heads)} instead."
            )
        self.image_size = image_size
        self.grid_size = image_size // patch_size
        self.query_dim = query_dim
        self.prompt_dim = prompt_dim
        self.owlvit = OwlVitTower(
            OwlViTVisionConfig(
                image_size=image_size,
                patch_size=patch_size,
                hidden_size=hidden_size,
                intermediate_size=intermediate_size,
                num_hidden_layers=num_layers,
                num_attention_heads=num_heads,
            ),
            query_dim=query_dim,
            grid_size=self.grid_size,
        )
        self.visual_projection = nn.Linear(hidden_size, prompt_dim, bias=False)
        self.prompt_encoder = PromptEncoder(dim=prompt_dim, grid_size=self.grid_size, mask_channels=mask_channels)
        self.mask_decoder = MaskHead(
            dim=prompt_dim,
            transformer=TwoWayTransformer(
                depth=decoder_depth, dim=prompt_dim, num_heads=decoder_heads, mlp_dim=decoder_mlp_dim
            ),
            upscaling=bilinear_upscaling(prompt_dim),
            quality_dim=quality_dim,
        )

    def encode_images(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Encode pictures: ``(I, 3, S, S)`` to ``((I, g, g, C),)``, before the norm that learns."""
        return (self.owlvit.encode(pixels),)

    def features(self, encoded: Sequence[Tensor]) -> Tensor:
        """Return the feature map ``(I, g, g, C)`` of encoded pictures."""
        return self.owlvit.layer_norm(encoded[0])

    def detect(self, features: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Score each cell, and give it a box.

        Args:
            features: ``(K, g, g, C)``, of the picture of each query.
            queries: ``(K, A)``.

        Returns:
            Logits ``(K, Q)``, and boxes ``(K, Q, 4)``: centre, width and height as fractions of the picture.
        """
        cells = features.flatten(1, 2)
        return self.owlvit.class_head(cells, queries), self.owlvit.boxes(cells)

    def heat(self, features: Tensor, prompts: Tensor) -> Tensor:
        """Return where prompts point: ``(K, g, g, C)`` and ``(K, E)`` to logits ``(K, 1, 4 g, 4 g)``."""
        sparse, dense = self.prompt_encoder(prompts)
        maps = rearrange(self.visual_projection(features), "k h w c -> k c h w")
        positions = self.prompt_encoder.image_positions()
        return self.mask_decoder(maps, positions, sparse=sparse, dense=dense, multimask=False)[0]


class OwlVitTower(nn.Module):
    """OWL-ViT without its text half; parameters bear the names of transformers' ``OwlViTForObjectDetection``.

    Args:
        config: of the vision transformer.
        query_dim: A.
        grid_size: g.
    """

    def __init__(self, config: OwlViTVisionConfig, *, query_dim: int, grid_size: int) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.vision_model = OwlViTVisionModel._from_config(config).vision_model
        self.class_head = _ClassHead(config.hidden_size, query_dim=query_dim)
        self.box_head = _BoxHead(config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode pictures: each patch times the class token, ``(I, 3, S, S)`` to ``(I, g, g, C)``."""
        tokens = self.vision_model.post_layernorm(self.vision_model(pixel_values=pixels).last_hidden_state)
        return rearrange(tokens[:, 1:] * tokens[:, :1], "i (h w) c -> i h w c", h=self.grid_size)

    def boxes(self, cells: Tensor) -> Tensor:
        """Return the box of each cell, ``(K, Q, C)`` to ``(K, Q, 4)``: centre, width and height as fractions."""
        return (self.box_head(cells) + cell_bias(self.grid_size).to(cells)).sigmoid()


class _ClassHead(nn.Module):
    """Cosine of cell and query, with a scale and a shift that each cell chooses."""

    def __init__(self, dim: int, *, query_dim: int) -> None:
        super().__init__()
        self.dense0 = nn.Linear(dim, query_dim)
        self.logit_shift = nn.Linear(dim, 1)
        self.logit_scale = nn.Linear(dim, 1)

    def forward(self, cells: Tensor, queries: Tensor) -> Tensor:
        """Score cells ``(K, Q, C)`` for queries ``(K, A)``: logits ``(K, Q)``."""
        cosine = torch.einsum("kqa,ka->kq", _unit(self.dense0(cells)), _unit(queries))
        shift, scale = self.logit_shift(cells).squeeze(-1), F.elu(self.logit_scale(cells)).squeeze(-1) + 1
        return (cosine + shift) * scale


class _BoxHead(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense0 = nn.Linear(dim, dim)
        self.dense1 = nn.Linear(dim, dim)
        self.dense2 = nn.Linear(dim, 4)

    def forward(self, cells: Tensor) -> Tensor:
        """Map cells ``(K, Q, C)`` to ``(K, Q, 4)``, before the bias and the sigmoid."""
        return self.dense2(F.gelu(self.dense1(F.gelu(self.dense0(cells)))))


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (torch.linalg.norm(vectors, dim=-1, keepdim=True) + _NORM_EPS)


def cell_bias(grid_size: int) -> Tensor:
    """Return what makes an untrained box stand at its cell, before the sigmoid: ``(Q, 4)``, x fastest.

    The position of cell c is (c + 1) / g, its size 1 / g, both as logits with 1e-4 added inside the logarithms.

    Source: OWL-ViT, arXiv:2205.06230, section 3.1; transformers' ``OwlViTForObjectDetection``.
    """
    places = torch.arange(1, grid_size + 1) / grid_size
    y, x = torch.meshgrid(places, places, indexing="ij")
    centres = torch.stack([x, y], dim=-1).reshape(-1, 2)
    values = torch.cat([centres, torch.full_like(centres, 1.0 / grid_size)], dim=-1)
    return torch.log(values + _LOG_EPS) - torch.log1p(-values + _LOG_EPS)
