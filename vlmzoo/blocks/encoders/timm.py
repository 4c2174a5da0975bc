"""Any backbone of timm as one feature map: convolutional, hierarchical or plain transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["TimmEncoder"]


@ENCODERS.register(
    "timm",
    source="timm (pytorch-image-models), documentation of feature extraction",
    tiny={
        "model_name": "vit_tiny_patch16_224",
        "image_size": 32,
        "options": {"embed_dim": 32, "depth": 1, "num_heads": 2},
    },
)
class TimmEncoder(Encoder):
    """The feature map of one stage of a timm backbone.

    Args:
        model_name: timm's name of the architecture.
        image_size: side or (height, width) of the input, in pixels.
        select_layer: which of timm's feature maps; -1 is the last.
        pretrained: whether timm downloads its weights.
        position_std: standard deviation that a learned position embedding starts with; timm's 0.02 is far below the
            scale of patches at small width, so that a model trained from nothing long cannot tell where a patch is.
        options: further arguments of ``timm.create_model``.

    Raises:
        ConfigError: if timm does not know the name or an option.
    """

    def __init__(
        self,
        *,
        model_name: str,
        image_size: int | Sequence[int],
        select_layer: int = -1,
        pretrained: bool = False,
        position_std: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(model_name):
            raise ConfigError(f"timm has no model named `{model_name}`.{nearest_hint(model_name, timm.list_models())}")
        self.image_size = as_height_width(image_size)
        self._recipe = (model_name, select_layer, False, dict(options or {}))
        self.vision = self._create(model_name, select_layer, pretrained, dict(options or {}))
        if position_std is not None:
            self._scale_positions(position_std)
        self.out_channels = int(self.vision.feature_info.channels()[-1])
        self.grid_size = self._measure_grid()

    def _create(self, model_name: str, select_layer: int, pretrained: bool, options: dict[str, Any]) -> Any:
        """Create the backbone, telling it the image size if it wants to know (transformers do)."""
        options |= {"features_only": True, "out_indices": (select_layer,), "pretrained": pretrained}
        try:
            return timm.create_model(model_name, img_size=self.image_size, **options)
        except TypeError:
            pass  # a convolutional backbone, which takes any size and refuses to be told one
        try:
            return timm.create_model(model_name, **options)
        except (TypeError, RuntimeError) as error:
            raise ConfigError(f"timm cannot build `{model_name}` with {options}: {error}") from error

    def _scale_positions(self, std: float) -> None:
        """Draw the learned position embedding anew.

        Raises:
            ConfigError: if the backbone has none.
        """
        found = [p for name, p in self.vision.named_parameters() if name.endswith("pos_embed")]
        if not found:
            raise ConfigError("`position_std` must be left out: this backbone has no learned position embedding.")
        for positions in found:
            torch.nn.init.trunc_normal_(positions, std=std)

    def _measure_grid(self) -> tuple[int, int]:
        """Find (h, w) from the declared reduction, the same that a forward pass would give."""
        reduction = int(self.vision.feature_info.reduction()[-1])
        return self.image_size[0] // reduction, self.image_size[1] // reduction

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        feature_map = self.vision(pixel_values.to(self.dtype))[-1]
        is_channels_last = feature_map.shape[1] != self.out_channels  # Swin and its kin
        return feature_map.permute(0, 3, 1, 2) if is_channels_last else feature_map

    @torch.no_grad()
    def restore_buffers(self) -> None:
        """Recompute the buffers that no checkpoint holds, after a load that went through the meta device."""
        saved = set(self.vision.state_dict())
        lost = {name: buffer for name, buffer in self.vision.named_buffers() if name not in saved}
        if lost:
            twin = dict(self._create(*self._recipe).named_buffers())
            for name, buffer in lost.items():
                buffer.copy_(twin[name])
