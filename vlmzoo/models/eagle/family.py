"""Eagle as a row of the family registry."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.fusion import FUSIONS
from vlmzoo.blocks.language import LANGUAGE_MODELS
from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.models import FAMILIES
from vlmzoo.models.eagle.configuration import EagleConfig
from vlmzoo.models.eagle.modeling import EagleVlm

__all__ = ["build_eagle"]


@FAMILIES.register(
    "eagle",
    source="Eagle, arXiv:2408.15998, section 3",
    tiny={
        "encoders": [
            {
                "type": "clip_hr",
                "image_size": 28,
                "native_size": 28,
                "patch_size": 14,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_layers": 2,
                "num_heads": 2,
            },
            {"type": "convnext", "image_size": 64, "depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
        ],
        "fusion": {"type": "channel_concat"},
        "projector": {"type": "mlp2x_gelu"},
        "language_model": {
            "type": "causal_lm",
            "model_type": "llama",
            "vocab_size": 300,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
        "image_token_id": 3,
    },
)
def build_eagle(
    *,
    encoders: Sequence[Mapping[str, Any]],
    projector: Mapping[str, Any],
    language_model: Mapping[str, Any],
    image_token_id: int,
    fusion: Mapping[str, Any] | None = None,
    image_size: int | Sequence[int] | None = None,
    attn_implementation: str | None = None,
) -> EagleVlm:
    """Build an Eagle-like model with random weights.

    Args:
        encoders: specs for the encoder registry, in the order of the channels; none is compulsory.
        projector: spec for the projector registry.
        language_model: spec for the language-model registry.
        image_token_id: the placeholder of one visual token; it may stand outside the language model's vocabulary.
        fusion: spec for the fusion registry; None is channel concatenation on the finest grid.
        image_size: side or (height, width) of the images that the processor makes, in pixels; None is what the encoder
            wants that wants the largest.
        attn_implementation: attention by name; None lets transformers choose.

    Raises:
        ConfigError: if a spec cannot be built, or the encoders' grids cannot meet.
        RegistryError: if a name is unknown.
    """
    for encoder in encoders:
        ENCODERS.check(encoder)
    if fusion is not None:
        FUSIONS.check(fusion, runtime=("channels", "grid_sizes"))
    PROJECTORS.check(projector, runtime=("in_dim", "out_dim"))
    config = EagleConfig(
        encoders=encoders,
        fusion=fusion,
        projector=projector,
        image_size=image_size,
        text_config=LANGUAGE_MODELS.build(language_model),
        image_token_id=image_token_id,
    )
    return EagleVlm._from_config(config, attn_implementation=attn_implementation)
