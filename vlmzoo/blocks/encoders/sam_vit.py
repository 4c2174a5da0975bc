"""SAM's vision transformer with a short neck, as one of Eagle's experts."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import layer_norm, pixel_unshuffle
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionEncoder

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.encoders._vit import attention_options, check_patches
from vlmzoo.errors import ConfigError

__all__ = ["SamVitEncoder"]


class ShortNeck(nn.Module):
    """One convolution over single positions, and a norm over channels: ``(B, h, w, C)`` to ``(B, c, h, w)``.

    Args:
        in_channels: C.
        out_channels: c.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.layer_norm1 = ChannelNorm(out_channels, eps=1e-6)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Narrow the channels."""
        return self.layer_norm1(self.conv1(hidden_states.permute(0, 3, 1, 2)))


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of maps, ``(B, C, h, w)``."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each position."""
        last = input.permute(0, 2, 3, 1)
        return layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


@ENCODERS.register(
    "sam_vit",
    source="SAM, arXiv:2304.02643, section 3; short neck and unshuffling: NVlabs/EAGLE@fef95f1, "
    "eagle/model/multimodal_encoder/sam_encoder.py",
    tiny={
        "image_size": 64,
        "patch_size": 8,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_layers": 2,
        "num_heads": 2,
        "window_size": 4,
        "global_layers": [1],
        "neck_channels": 8,
    },
)
class SamVitEncoder(Encoder):
    """SAM's image encoder, its map folded twofold: four neighbours become one position of four times the channels.

    Args:
        image_size: side of the square input, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: width of a token.
        intermediate_size: width inside the feed-forward part.
        num_layers: transformer blocks.
        num_heads: attention heads.
        window_size: side of the windows that attention is kept within, in patches.
        global_layers: blocks whose attention sees the whole image.
        neck_channels: channels behind the neck; C is ``fold ** 2`` times as many.
        fold: side of the neighbourhood that becomes one position.
        attn_implementation: attention by name, ``sdpa`` or ``eager``, which alone can add SAM's relative positions;
            None and other names let transformers choose.

    Raises:
        ConfigError: if patches do not fill the image, or the grid cannot be folded.
    """

    def __init__(
        self,
        *,
        image_size: int = 1024,
        patch_size: int = 16,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_layers: int = 24,
        num_heads: int = 16,
        window_size: int = 14,
        global_layers: tuple[int, ...] | list[int] = (5, 11, 17, 23),
        neck_channels: int = 256,
        fold: int = 2,
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__()
        side = check_patches(image_size, patch_size)
        if fold < 1 or side % fold:
            raise ConfigError(f"`fold` must divide the {side} patches of a side, but is {fold} instead.")
        config = SamVisionConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=hidden_size,
            mlp_dim=intermediate_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            window_size=window_size,
            global_attn_indexes=list(global_layers),
            num_pos_feats=neck_channels // 2,
            output_channels=neck_channels,
            initializer_range=0.02,  # transformers' 1e-10 is for weights that are loaded; nothing could learn from it
        )
        vision: Any = SamVisionEncoder._from_config(
            config, **attention_options(attn_implementation, supported=("sdpa", "eager"))
        )
        vision.neck = ShortNeck(hidden_size, neck_channels)
        self.vision = vision
        self.fold = fold
        self.image_size = (image_size, image_size)
        self.grid_size = (side // fold, side // fold)
        self.out_channels = neck_channels * fold**2

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        feature_map = self.vision(pixel_values=pixel_values.to(self.dtype)).last_hidden_state
        return pixel_unshuffle(feature_map, self.fold)
