"""SigLIP's vision transformer: no class token, sigmoid pre-training."""

from transformers import SiglipVisionConfig, SiglipVisionModel

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.encoders._vit import HiddenStateEncoder, attention_options

__all__ = ["SiglipEncoder"]


@ENCODERS.register(
    "siglip",
    source="SigLIP, arXiv:2303.15343, section 4",
    tiny={
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_layers": 2,
        "num_heads": 2,
    },
)
class SiglipEncoder(HiddenStateEncoder):
    """SigLIP's patch tokens from one hidden state.

    Args:
        image_size: side of the square input, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: C, width of a token.
        intermediate_size: width inside the feed-forward part.
        num_layers: transformer blocks.
        num_heads: attention heads.
        select_layer: which hidden state, as in transformers.
        attn_implementation: attention by name; None lets transformers choose.
    """

    def __init__(
        self,
        *,
        image_size: int = 384,
        patch_size: int = 14,
        hidden_size: int = 1152,
        intermediate_size: int = 4304,
        num_layers: int = 27,
        num_heads: int = 16,
        select_layer: int = -2,
        attn_implementation: str | None = None,
    ) -> None:
        image_size -= image_size % patch_size  # SigLIP's own convolution drops the remainder: 384 holds 27 × 14
        config = SiglipVisionConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            vision_use_head=False,
        )
        super().__init__(
            SiglipVisionModel._from_config(config, **attention_options(attn_implementation)),
            image_size=image_size,
            patch_size=patch_size,
            select_layer=select_layer,
            num_prefix_tokens=0,
        )
