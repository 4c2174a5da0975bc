"""Counting parameters and visual tokens from a card alone, without torch and without building anything.

Letters: C channels of the encoder, D width of the language model.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.zoo.anatomy import Anatomy, clip_edges, clip_stack, language_stack, linear, num_read
from vlmzoo.zoo.card import Architecture, NativeArchitecture
from vlmzoo.zoo.native import native_anatomy, native_visual
from vlmzoo.zoo.visual import ImageSize, Visual

__all__ = ["DEFAULT_IMAGE_SIZE", "anatomy_of", "count_image_tokens", "count_parameters", "visual_of"]

Spec = Mapping[str, Any]

DEFAULT_IMAGE_SIZE: ImageSize = (512, 512)
"""The image that figures without a size of their own are for: TWIN's largest, arXiv:2512.23592."""


def count_image_tokens(
    architecture: Architecture | NativeArchitecture, image_size: ImageSize = DEFAULT_IMAGE_SIZE
) -> int:
    """Return the visual tokens that one image becomes.

    Args:
        architecture: composed or native.
        image_size: (height, width) in pixels; where every image is brought to one size, it does not matter.

    Raises:
        ConfigError: if no formula is known for this type of encoder.
    """
    return visual_of(architecture, image_size).tokens


def count_parameters(architecture: Architecture | NativeArchitecture) -> dict[str, int]:
    """Return the number of parameters of each part: ``encoder``, ``projector`` and ``language_model`` with its head.

    Raises:
        ConfigError: if no formula is known for the type of a part.
    """
    return anatomy_of(architecture).parameters


def anatomy_of(architecture: Architecture | NativeArchitecture) -> Anatomy:
    """Return what a model is made of.

    Raises:
        ConfigError: if no formula is known for the type of a part, or the architecture lacks a field that it needs.
    """
    try:
        return native_anatomy(architecture) if isinstance(architecture, NativeArchitecture) else _composed(architecture)
    except KeyError as error:
        raise ConfigError(f"`architecture` must have the field {error}, for its size depends on it.") from error


def visual_of(architecture: Architecture | NativeArchitecture, image_size: ImageSize) -> Visual:
    """Return what becomes of one image.

    Raises:
        ConfigError: if no formula is known for this type of encoder, or ``image_size`` is no size.
    """
    if isinstance(architecture, NativeArchitecture):
        return native_visual(architecture, image_size)
    encoder = architecture.encoder
    _formula(_ENCODERS, "encoder", encoder)
    tokens = (encoder["image_size"] // encoder["patch_size"]) ** 2
    return Visual(tokens=tokens, positions=tokens + 1, values=3 * encoder["image_size"] ** 2)


def _composed(architecture: Architecture) -> Anatomy:
    spec = architecture.language_model
    return _formula(_ENCODERS, "encoder", architecture.encoder)(
        architecture.encoder,
        **_projector(architecture.projector, architecture.encoder["hidden_size"], spec["hidden_size"]),
        language_model=language_stack(spec, model_type=str(spec.get("model_type"))),
        vocab_size=spec["vocab_size"],
        is_tied=spec.get("tie_word_embeddings", False),
    )


def _formula(table: Mapping[str, Callable[..., Anatomy]], kind: str, spec: Spec) -> Callable[..., Anatomy]:
    if spec.get("type") not in table:
        raise ConfigError(
            f"`{kind}` must be one whose size has a formula ({', '.join(table)}), but is `{spec.get('type')}` instead;"
            " add one to vlmzoo/zoo/arithmetic.py."
        )
    return table[spec["type"]]


def _with_clip(spec: Spec, **others: Any) -> Anatomy:
    encoder = clip_stack(
        width=spec["hidden_size"],
        inner=spec["intermediate_size"],
        num_layers=spec["num_layers"],
        num_heads=spec["num_heads"],
        activation=spec.get("hidden_act", "quick_gelu"),
    )
    return Anatomy(
        encoder=encoder,
        encoder_edges=clip_edges(width=encoder.width, image_size=spec["image_size"], patch_size=spec["patch_size"]),
        encoder_read=num_read(spec.get("select_layer", -2), encoder.num_layers),
        **others,
    )


def _projector(spec: Spec, fan_in: int, fan_out: int) -> dict[str, int]:
    """Parameters, and what backward reads of each token: the input of every layer, and of every GELU."""
    name = str(spec.get("type"))
    if name == "identity":
        return {"projector": 0, "projector_kept": 0}
    digits = "1" if name == "linear" else name.removeprefix("mlp").removesuffix("x_gelu")
    if not digits.isdigit():
        raise ConfigError(f"`projector` must be identity, linear or mlpNx_gelu, but is `{name}` instead.")
    num_more = int(digits) - 1
    return {
        "projector": linear(fan_in, fan_out) + num_more * linear(fan_out, fan_out),
        "projector_kept": fan_in + 2 * num_more * fan_out,
    }


_ENCODERS: Mapping[str, Callable[..., Anatomy]] = {"clip": _with_clip}
