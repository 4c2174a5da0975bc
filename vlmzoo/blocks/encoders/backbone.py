"""Any vision backbone of transformers as one feature map: DINOv2, Swin, ConvNeXt, ResNet, Hiera and their kin."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoBackbone, AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.encoders._vit import attention_options
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["BackboneEncoder"]


@ENCODERS.register(
    "backbone",
    source="transformers, AutoBackbone",
    tiny={
        "model_type": "dinov2",
        "image_size": 28,
        "options": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28},
    },
)
class BackboneEncoder(Encoder):
    """The last feature map of a transformers backbone.

    Args:
        model_type: transformers' name of the architecture: ``dinov2``, ``swin``, ``resnet`` …
        image_size: side or (height, width) of the input, in pixels.
        options: fields of its configuration; the others keep transformers' defaults.
        attn_implementation: attention by name; None lets transformers choose.

    Raises:
        ConfigError: if transformers has no such backbone, or it has no such field.
    """

    def __init__(
        self,
        *,
        model_type: str,
        image_size: int | Sequence[int],
        options: Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__()
        names = [name for name in MODEL_FOR_BACKBONE_MAPPING_NAMES if name != "timm_backbone"]
        if model_type not in names:
            raise ConfigError(f"transformers has no backbone `{model_type}`.{nearest_hint(model_type, names)}")
        known = AutoConfig.for_model(model_type).to_dict()
        for name in options or {}:
            if name not in known:
                raise ConfigError(f"Backbone `{model_type}` takes no `{name}`.{nearest_hint(name, known)}")
        config = AutoConfig.for_model(model_type, **(options or {}))
        supported = None if attn_implementation != "flash_attention_2" else ("sdpa", "eager")
        self.vision = AutoBackbone.from_config(config, **attention_options(attn_implementation, supported=supported))
        self.image_size = as_height_width(image_size)
        self.out_channels = int(self.vision.channels[-1])
        self.grid_size = self._measure_grid(model_type, options or {})

    @torch.no_grad()
    def _measure_grid(self, model_type: str, options: Mapping[str, Any]) -> tuple[int, int]:
        """Find (h, w) with a blank image through a twin on the meta device, which costs no memory."""
        with torch.device("meta"):
            twin = AutoBackbone.from_config(AutoConfig.for_model(model_type, **options))
            feature_map = twin.eval()(torch.zeros(1, 3, *self.image_size)).feature_maps[-1]
        return int(feature_map.shape[-2]), int(feature_map.shape[-1])

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        return self.vision(pixel_values.to(self.dtype)).feature_maps[-1]
