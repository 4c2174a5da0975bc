"""Counting parameters and visual tokens from a card alone, without torch and without building anything.

Letters: C channels of the encoder, D width of the language model, F width inside a feed-forward part, V vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.zoo.card import Architecture

__all__ = ["count_image_tokens", "count_parameters"]

Spec = Mapping[str, Any]


def count_image_tokens(architecture: Architecture) -> int:
    """Return the visual tokens that one image becomes.

    Raises:
        ConfigError: if no formula is known for this type of encoder.
    """
    _formula(_ENCODERS, "encoder", architecture.encoder)
    return (architecture.encoder["image_size"] // architecture.encoder["patch_size"]) ** 2


def count_parameters(architecture: Architecture) -> dict[str, int]:
    """Return the number of parameters of each part.

    Raises:
        ConfigError: if no formula is known for the type of a part.
    """
    encoder, language_model = architecture.encoder, architecture.language_model
    width = language_model["hidden_size"]
    by_type = {**language_model, "type": language_model.get("model_type")}
    return {
        "encoder": _formula(_ENCODERS, "encoder", encoder)(encoder),
        "projector": _projector(architecture.projector, encoder["hidden_size"], width),
        "language_model": _formula(_LANGUAGE_MODELS, "language model", by_type)(language_model),
    }


def _formula(table: Mapping[str, Callable[[Spec], int]], kind: str, spec: Spec) -> Callable[[Spec], int]:
    if spec.get("type") not in table:
        raise ConfigError(
            f"`{kind}` must be one whose size has a formula ({', '.join(table)}), but is `{spec.get('type')}` instead;"
            " add one to vlmzoo/zoo/arithmetic.py."
        )
    return table[spec["type"]]


def _linear(fan_in: int, fan_out: int) -> int:
    return fan_in * fan_out + fan_out


def _clip(spec: Spec) -> int:
    width, inner = spec["hidden_size"], spec["intermediate_size"]
    num_patches = (spec["image_size"] // spec["patch_size"]) ** 2
    embeddings = width + 3 * spec["patch_size"] ** 2 * width + (num_patches + 1) * width  # class token, patches, places
    norm = 2 * width
    block = 4 * _linear(width, width) + _linear(width, inner) + _linear(inner, width) + 2 * norm
    return embeddings + spec["num_layers"] * block + 2 * norm  # one norm before the blocks, one after


def _llama(spec: Spec) -> int:
    width, inner, num_heads = spec["hidden_size"], spec["intermediate_size"], spec["num_attention_heads"]
    head_dim = spec.get("head_dim", width // num_heads)
    num_kv_heads = spec.get("num_key_value_heads", num_heads)
    attention = 2 * width * num_heads * head_dim + 2 * width * num_kv_heads * head_dim
    block = attention + 3 * width * inner + 2 * width
    num_tables = 1 if spec.get("tie_word_embeddings", False) else 2  # embeddings, and a head of its own
    return num_tables * spec["vocab_size"] * width + spec["num_hidden_layers"] * block + width


def _projector(spec: Spec, fan_in: int, fan_out: int) -> int:
    name = str(spec.get("type"))
    if name == "identity":
        return 0
    if name == "linear":
        return _linear(fan_in, fan_out)
    digits = name.removeprefix("mlp").removesuffix("x_gelu")
    if not digits.isdigit():
        raise ConfigError(f"`projector` must be identity, linear or mlpNx_gelu, but is `{name}` instead.")
    return _linear(fan_in, fan_out) + (int(digits) - 1) * _linear(fan_out, fan_out)


_ENCODERS: Mapping[str, Callable[[Spec], int]] = {"clip": _clip}
_LANGUAGE_MODELS: Mapping[str, Callable[[Spec], int]] = {"llama": _llama}
