"""CLIP's vision transformer at any size, read as Eagle reads it: patch tokens alone, from the last block."""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import CLIPVisionConfig, CLIPVisionModel

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.encoders._vit import attention_options, check_patches

__all__ = ["HighResolutionClipEncoder"]


@ENCODERS.register(
    "clip_hr",
    source="Eagle, arXiv:2408.15998, section 3; NVlabs/EAGLE@fef95f1, "
    "eagle/model/multimodal_encoder/hr_clip_encoder.py",
    tiny={
        "image_size": 42,
        "native_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_layers": 2,
        "num_heads": 2,
    },
)
class HighResolutionClipEncoder(Encoder):
    """CLIP's patch tokens behind the last block; the class token is dropped before the first norm.

    No block sees the class token, and the norm behind the blocks is not applied; both are in the released weights, and
    so in ours. Eagle calls this encoder ``clip-448``, but its released code brings every image to 336 pixels, and the
    released weights were trained so. 448 takes the same weights, with their positions resampled.

    Args:
        image_size: side of the square input, in pixels.
        native_size: side for which the weights have positions, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: C, width of a token.
        intermediate_size: width inside the feed-forward part.
        num_layers: transformer blocks.
        num_heads: attention heads.
        hidden_act: activation; OpenAI's weights use ``quick_gelu``.
        attn_implementation: attention by name; None lets transformers choose.

    Raises:
        ConfigError: if patches do not fill the image, or do not fill the native size.
    """

    def __init__(
        self,
        *,
        image_size: int = 336,
        native_size: int = 336,
        patch_size: int = 14,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_layers: int = 24,
        num_heads: int = 16,
        hidden_act: str = "quick_gelu",
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__()
        side = check_patches(image_size, patch_size)
        self.native_side = check_patches(native_size, patch_size)
        config = CLIPVisionConfig(
            image_size=native_size,
            patch_size=patch_size,
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            hidden_act=hidden_act,
        )
        self.vision = CLIPVisionModel._from_config(config, **attention_options(attn_implementation))
        self.image_size = (image_size, image_size)
        self.grid_size = (side, side)
        self.out_channels = hidden_size

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        patches = self.vision.embeddings.patch_embedding(pixel_values.to(self.dtype))
        tokens = rearrange(patches + self._positions(pixel_values.device), "b c h w -> b (h w) c")
        outputs = self.vision.encoder(inputs_embeds=self.vision.pre_layrnorm(tokens))
        return rearrange(outputs.last_hidden_state, "b (h w) c -> b c h w", h=self.grid_size[0])

    def _positions(self, device: torch.device) -> Tensor:
        """Return the patches' position embeddings as a map, resampled to the grid: ``(1, C, h, w)``."""
        places = torch.arange(1, self.native_side**2 + 1, device=device)  # 0 is the class token's
        positions = self.vision.embeddings.position_embedding(places)
        native = rearrange(positions, "(h w) c -> 1 c h w", h=self.native_side)
        if self.grid_size[0] == self.native_side:
            return native
        resampled = interpolate(native.float(), size=self.grid_size, mode="bicubic", antialias=True)
        return resampled.to(native.dtype)
