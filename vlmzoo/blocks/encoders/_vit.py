"""What CLIP's and SigLIP's vision transformers have in common here."""

from collections.abc import Collection
from typing import Any

from einops import rearrange
from torch import Tensor
from transformers import PreTrainedModel

from vlmzoo.blocks.encoders import Encoder
from vlmzoo.errors import ConfigError

__all__ = ["HiddenStateEncoder", "attention_options", "check_patches"]


def check_patches(image_size: int, patch_size: int) -> int:
    """Return the patches along one side.

    Raises:
        ConfigError: if the patches do not fill the image.
    """
    if image_size % patch_size:
        raise ConfigError(f"`image_size` must be a multiple of `patch_size` ({patch_size}), but is {image_size}.")
    return image_size // patch_size


class HiddenStateEncoder(Encoder):
    """A transformers vision transformer of which one hidden state is read.

    Args:
        vision: the transformers model.
        image_size: side of the square input, in pixels.
        patch_size: side of a patch, in pixels.
        select_layer: index into the hidden states, as in transformers: 0 the embeddings, -1 the last block.
        num_prefix_tokens: tokens before the patches (CLIP's class token) that are dropped.

    Raises:
        ConfigError: if there is no such layer, or the patches do not fill the image.
    """

    def __init__(
        self, vision: PreTrainedModel, *, image_size: int, patch_size: int, select_layer: int, num_prefix_tokens: int
    ) -> None:
        super().__init__()
        num_layers = vision.config.num_hidden_layers
        if not -num_layers - 1 <= select_layer <= num_layers:
            raise ConfigError(
                f"`select_layer` must be within ±{num_layers} layers, but is {select_layer} instead; -2 is LLaVA's."
            )
        side = check_patches(image_size, patch_size)
        self.vision = vision
        self.image_size = (image_size, image_size)
        self.grid_size = (side, side)
        self.out_channels = int(vision.config.hidden_size)
        self.select_layer = select_layer
        self.num_prefix_tokens = num_prefix_tokens

    def features(self, pixel_values: Tensor) -> Tensor:
        """Read the selected hidden state: ``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        outputs = self.vision(pixel_values=pixel_values.to(self.dtype), output_hidden_states=True)
        tokens = outputs.hidden_states[self.select_layer][:, self.num_prefix_tokens :]
        return rearrange(tokens, "b (h w) c -> b c h w", h=self.grid_size[0])


def attention_options(attn_implementation: str | None, *, supported: Collection[str] | None = None) -> dict[str, Any]:
    """Return the keyword arguments that choose the attention of a transformers model.

    Args:
        attn_implementation: by name; None lets transformers choose.
        supported: the names that this architecture can run, where not all; others let transformers choose, too.
    """
    is_chosen = attn_implementation is not None and (supported is None or attn_implementation in supported)
    return {"attn_implementation": attn_implementation} if is_chosen else {}
