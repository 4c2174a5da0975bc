"""Eagle: one image through several encoders, their maps fused on one grid (arXiv:2408.15998, section 3)."""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import initialization as init

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.fusion import FUSIONS, resize_bilinear
from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.models.attention import encoder_spec
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.eagle.configuration import EagleConfig

__all__ = ["EagleVlm"]


class EagleVlm(ComposedVlm):
    """Several encoders, a fusion, one projector, one language model.

    Letters: K encoders, C_k channels and (h_k, w_k) grid of encoder k, N visual tokens of an image or tile, D width of
    the language model's tokens.

    Raises:
        ConfigError: if its configuration names no encoder.
    """

    config_class = EagleConfig
    family = "eagle"
    part_prefixes = {**ComposedVlm.part_prefixes, "encoder": ("encoders.",), "projector": ("projector.", "fusion.")}

    def __init__(self, config: EagleConfig) -> None:
        super().__init__(config)
        if not config.encoders:
            raise ConfigError("`encoders` must name at least one encoder, but names none.")
        attention = getattr(config, "_attn_implementation", None)
        encoders: list[Encoder] = [ENCODERS.build(encoder_spec(spec, attention)) for spec in config.encoders]
        self.encoders = nn.ModuleList(encoders)
        self.image_size = _image_size(config, encoders)
        self.fusion = FUSIONS.build(
            config.fusion,
            channels=[encoder.out_channels for encoder in encoders],
            grid_sizes=[encoder.grid_size for encoder in encoders],
        )
        self.projector = PROJECTORS.build(
            config.projector, in_dim=self.fusion.out_dim, out_dim=self.language_model.config.hidden_size
        )
        self.post_init()

    @property
    def num_image_tokens(self) -> int:
        """N, what the fusion makes of one image or tile."""
        return self.fusion.num_tokens

    def feature_maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode images or tiles with every encoder, each at its own size.

        Args:
            pixel_values: ``(images, 3, H, W)``, normalised once for all encoders.

        Returns:
            K maps, the k-th of shape ``(images, C_k, h_k, w_k)``.

        Raises:
            ShapeError: if the images are not of the model's size.
        """
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != (3, *self.image_size):
            raise ShapeError(
                f"`pixel_values` must be (images, 3, {self.image_size[0]}, {self.image_size[1]}), but is "
                f"{tuple(pixel_values.shape)} instead; use the model's own processor."
            )
        encoders = cast("list[Encoder]", list(self.encoders))
        return [encoder(resize_bilinear(pixel_values, encoder.image_size)) for encoder in encoders]

    def project(self, feature_maps: list[Tensor]) -> Tensor:
        """Fuse and project K maps, the k-th ``(images, C_k, h_k, w_k)``, into ``(images, N, D)``."""
        return self.projector(self.fusion(feature_maps))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise fusion and projector so that they keep the scale of what they project."""
        super()._init_weights(module)
        own = [*self.projector.modules(), *self.fusion.modules()]
        if isinstance(module, nn.Linear) and any(module is part for part in own):
            init.normal_(module.weight, std=module.in_features**-0.5)
            init.zeros_(module.bias)


def _image_size(config: EagleConfig, encoders: list[Encoder]) -> tuple[int, int]:
    """Return (height, width) of the images that the model takes."""
    if config.image_size is not None:
        return as_height_width(config.image_size)
    return max((encoder.image_size for encoder in encoders), key=lambda size: size[0] * size[1])
