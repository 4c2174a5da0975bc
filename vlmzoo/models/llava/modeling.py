"""LLaVA: patch tokens of one encoder, projected into the language model (arXiv:2304.08485, section 4.1)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import initialization as init

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.models.attention import encoder_spec
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.llava.configuration import LlavaConfig

__all__ = ["LlavaVlm"]


class LlavaVlm(ComposedVlm):
    """One encoder, one projector, one language model.

    Letters: N visual tokens of an image, D width of the language model's tokens.
    """

    config_class = LlavaConfig
    family = "llava"

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        self.encoder = ENCODERS.build(encoder_spec(config.encoder, getattr(config, "_attn_implementation", None)))
        self.image_size = self.encoder.image_size
        self.projector = PROJECTORS.build(
            config.projector,
            in_dim=self.encoder.out_channels,
            out_dim=self.language_model.config.hidden_size,
        )
        self.post_init()

    @property
    def num_image_tokens(self) -> int:
        """N, the cells of the encoder's grid, or what a resampling projector makes of them."""
        height, width = self.encoder.grid_size
        return getattr(self.projector, "num_latents", height * width)

    def feature_maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode images: ``(images, 3, H, W)`` to one map ``(images, C, h, w)``."""
        return [self.encoder(pixel_values)]

    def project(self, feature_maps: list[Tensor]) -> Tensor:
        """Project one map ``(images, C, h, w)`` into ``(images, N, D)``, row by row over the grid."""
        return self.projector(rearrange(feature_maps[0], "b c h w -> b (h w) c"))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the projector so that it keeps the scale of what it projects."""
        super()._init_weights(module)
        if isinstance(module, nn.Linear) and any(module is part for part in self.projector.modules()):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
