"""transformers' own models as a row of the family registry."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from vlmzoo.errors import ConfigError
from vlmzoo.models import FAMILIES
from vlmzoo.models.native.modeling import native_class
from vlmzoo.models.native.table import native_base
from vlmzoo.registry import nearest_hint

__all__ = ["build_native", "native_config"]


@FAMILIES.register(
    "native",
    source="transformers; Qwen2-VL, arXiv:2409.12191; Qwen2.5-VL, arXiv:2502.13923; InternVL3.5, arXiv:2508.18265",
    tiny={
        "model_type": "qwen2_vl",
        "config": {
            "text_config": {
                "vocab_size": 300,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            },
            "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        },
    },
)
def build_native(
    *, model_type: str, config: Mapping[str, Any] | None = None, attn_implementation: str | None = None
) -> Any:
    """Build one of transformers' models with random weights.

    Args:
        model_type: transformers' name of the architecture.
        config: fields of its configuration; the others keep transformers' defaults.
        attn_implementation: attention by name; None lets transformers choose.

    Raises:
        ConfigError: if the architecture is no native base, or has no such field.
    """
    described = native_config(model_type, config or {})
    built: Any = native_class(model_type)
    return built._from_config(described, attn_implementation=attn_implementation)


def native_config(model_type: str, fields: Mapping[str, Any]) -> PreTrainedConfig:
    """Describe one of transformers' models.

    Raises:
        ConfigError: if the architecture is no native base, or has no such field.
    """
    native_base(model_type)
    default = AutoConfig.for_model(model_type)
    known = set(default.to_dict()) | set(type(default).attribute_map)
    for name in fields:
        if name not in known:
            raise ConfigError(f"`{model_type}` takes no `{name}` in its `config`.{nearest_hint(name, known)}")
    return AutoConfig.for_model(model_type, **fields)
