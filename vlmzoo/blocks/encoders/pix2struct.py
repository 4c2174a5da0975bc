"""Pix2Struct's encoder, trained on screenshots and documents, with its preprocessing on tensors.

Letters: R rows and as many columns of patches, P side of a patch in pixels.
"""

from collections.abc import Sequence
from math import isqrt

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Pix2StructVisionConfig, Pix2StructVisionModel

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.encoders._vit import attention_options
from vlmzoo.errors import ConfigError

__all__ = ["Pix2StructEncoder", "standardise"]


def standardise(images: Tensor) -> Tensor:
    """Bring each image to mean 0 and deviation 1 over all its values: ``(B, 3, H, W)`` to the same.

    Source: Pix2Struct, arXiv:2210.03347, in the form of TensorFlow's ``per_image_standardization``: the deviation is
    that of the whole population, and at least ``1 / sqrt(values)``, so that an even image does not divide by zero.
    """
    std, mean = torch.std_mean(images, dim=(1, 2, 3), correction=0, keepdim=True)
    num_values = images[0].numel()
    return (images - mean) / std.clamp(min=num_values**-0.5)


@ENCODERS.register(
    "pix2struct",
    source="Pix2Struct, arXiv:2210.03347, section 2; as Eagle reads it: NVlabs/EAGLE@fef95f1, "
    "eagle/model/multimodal_encoder/pix2struct_encoder.py",
    tiny={
        "image_size": 32,
        "patch_size": 4,
        "max_patches": 20,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_layers": 1,
        "num_heads": 2,
        "max_side": 8,
    },
)
class Pix2StructEncoder(Encoder):
    """Pix2Struct's last hidden state as a map; its defaults are Pix2Struct-Large.

    A square image becomes the largest square of patches that the budget allows. No token is padding, and so none has to
    be masked; the released code pads 2025 to 2048 and masks, to the same effect.

    Args:
        image_size: side of the square input, in pixels.
        patch_size: P.
        max_patches: budget of patches; R is its root, rounded down.
        hidden_size: C, width of a token.
        intermediate_size: width inside the feed-forward part.
        num_layers: transformer blocks.
        num_heads: attention heads.
        max_side: rows and columns that the weights have embeddings for, plus one.
        mean: channel means that the processor has taken off, as fractions of full scale.
        std: deviations that it has divided by, likewise; both are undone, since Pix2Struct normalises by image.
        attn_implementation: attention by name, ``sdpa`` or ``eager``, which alone transformers has for it;
            None and other names let transformers choose.

    Raises:
        ConfigError: if there are more rows than embeddings.
    """

    def __init__(
        self,
        *,
        image_size: int = 1024,
        patch_size: int = 16,
        max_patches: int = 2048,
        hidden_size: int = 1536,
        intermediate_size: int = 3968,
        num_layers: int = 18,
        num_heads: int = 24,
        max_side: int = 4096,
        mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__()
        side = isqrt(max_patches)
        if not 1 <= side < max_side:
            raise ConfigError(
                f"`max_patches` must make 1 to {max_side - 1} rows, since `max_side` is {max_side}, but {max_patches} "
                f"make {side}."
            )
        config = Pix2StructVisionConfig(
            hidden_size=hidden_size,
            patch_embed_hidden_size=3 * patch_size**2,
            d_ff=intermediate_size,
            d_kv=hidden_size // num_heads,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            seq_len=max_side,
            initializer_range=0.02,  # transformers' 1e-10 is for weights that are loaded; nothing could learn from it
        )
        self.vision = Pix2StructVisionModel._from_config(
            config, **attention_options(attn_implementation, supported=("sdpa", "eager"))
        )
        self.patch_size = patch_size
        self.mean, self.std = tuple(mean), tuple(std)
        self.image_size = (image_size, image_size)
        self.grid_size = (side, side)
        self.out_channels = hidden_size

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        patches = self.patches(pixel_values).to(self.dtype)
        is_token = torch.ones(patches.shape[:2], device=patches.device)
        outputs = self.vision(flattened_patches=patches, attention_mask=is_token)
        return rearrange(outputs.last_hidden_state, "b (h w) c -> b c h w", h=self.grid_size[0])

    def patches(self, pixel_values: Tensor) -> Tensor:
        """Cut normalised images into patches.

        Args:
            pixel_values: ``(B, 3, H, W)``, as the processor normalised them.

        Returns:
            ``(B, R * R, 2 + 3 * P * P)`` in float32: row and column, counted from 1, then the values of the patch,
            position by position with the channels innermost.
        """
        options = {"dtype": torch.float32, "device": pixel_values.device}
        mean, std = (torch.tensor(three, **options).view(3, 1, 1) for three in (self.mean, self.std))
        images = standardise((pixel_values.float() * std + mean) * 255)
        side = self.grid_size[0]
        size = (side * self.patch_size, side * self.patch_size)
        images = interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        values = rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=self.patch_size, q=self.patch_size)
        row_column = torch.cartesian_prod(*[torch.arange(1, side + 1, device=pixel_values.device)] * 2)
        return torch.cat([row_column.float().expand(len(values), -1, -1), values], dim=-1)
