"""LLaVA as a row of the family registry."""

from collections.abc import Mapping
from typing import Any

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.language import LANGUAGE_MODELS
from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.models import FAMILIES
from vlmzoo.models.llava.configuration import LlavaConfig
from vlmzoo.models.llava.modeling import LlavaVlm

__all__ = ["build_llava"]

_TINY_TEXT = {
    "type": "causal_lm",
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


@FAMILIES.register(
    "llava",
    source="LLaVA, arXiv:2304.08485, section 4.1; LLaVA-1.5, arXiv:2310.03744, section 3",
    tiny={
        "encoder": {
            "type": "clip",
            "image_size": 28,
            "patch_size": 14,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_layers": 2,
            "num_heads": 2,
        },
        "projector": {"type": "mlp2x_gelu"},
        "language_model": _TINY_TEXT,
        "image_token_id": 3,
    },
)
def build_llava(
    *,
    encoder: Mapping[str, Any],
    projector: Mapping[str, Any],
    language_model: Mapping[str, Any],
    image_token_id: int,
    attn_implementation: str | None = None,
) -> LlavaVlm:
    """Build a LLaVA-like model with random weights.

    Args:
        encoder: spec for the encoder registry.
        projector: spec for the projector registry.
        language_model: spec for the language-model registry.
        image_token_id: the placeholder of one visual token; it may stand outside the language model's vocabulary.
        attn_implementation: attention by name; None lets transformers choose.

    Raises:
        ConfigError: if a spec cannot be built.
        RegistryError: if a name is unknown.
    """
    ENCODERS.check(encoder)
    PROJECTORS.check(projector, runtime=("in_dim", "out_dim"))
    config = LlavaConfig(
        encoder=encoder,
        projector=projector,
        text_config=LANGUAGE_MODELS.build(language_model),
        image_token_id=image_token_id,
    )
    return LlavaVlm._from_config(config, attn_implementation=attn_implementation)
