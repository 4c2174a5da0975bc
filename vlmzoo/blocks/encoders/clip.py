"""CLIP's vision transformer, LLaVA's encoder."""

from transformers import CLIPVisionConfig, CLIPVisionModel

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.encoders._vit import HiddenStateEncoder, attention_options

__all__ = ["ClipEncoder"]


@ENCODERS.register(
    "clip",
    source="CLIP, arXiv:2103.00020; layer and class-token rule: LLaVA, arXiv:2304.08485, section 4.1",
    tiny={
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_layers": 2,
        "num_heads": 2,
    },
)
class ClipEncoder(HiddenStateEncoder):
    """CLIP's patch tokens from one hidden state, the class token dropped.

    Args:
        image_size: side of the square input, in pixels.
        patch_size: side of a patch, in pixels.
        hidden_size: C, width of a token.
        intermediate_size: width inside the feed-forward part.
        num_layers: transformer blocks.
        num_heads: attention heads.
        select_layer: which hidden state; LLaVA reads the last but one.
        hidden_act: activation; OpenAI's weights use ``quick_gelu``.
        attn_implementation: attention by name; None lets transformers choose.
    """

    def __init__(
        self,
        *,
        image_size: int = 336,
        patch_size: int = 14,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_layers: int = 24,
        num_heads: int = 16,
        select_layer: int = -2,
        hidden_act: str = "quick_gelu",
        attn_implementation: str | None = None,
    ) -> None:
        config = CLIPVisionConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            hidden_act=hidden_act,
        )
        super().__init__(
            CLIPVisionModel._from_config(config, **attention_options(attn_implementation)),
            image_size=image_size,
            patch_size=patch_size,
            select_layer=select_layer,
            num_prefix_tokens=1,
        )
