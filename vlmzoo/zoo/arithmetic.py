"""Counting parameters and visual tokens from a card alone, without torch and without building anything.

Letters: C channels of the encoder, D width of the language model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.zoo.anatomy import Anatomy, Beside, language_stack, linear
from vlmzoo.zoo.card import Architecture, NativeArchitecture
from vlmzoo.zoo.encoders import EncoderFacts, encoder_facts
from vlmzoo.zoo.native import native_anatomy, native_visual
from vlmzoo.zoo.visual import ImageSize, Visual, choose_tiles

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
    encoders = [encoder_facts(spec) for spec in architecture.encoder_specs]
    height, width = _input_size(architecture, encoders)
    tiles = _count_pieces(architecture.processor.get("tiling"), image_size, tile=height)
    return Visual(
        tokens=tiles * _fused(architecture, encoders).tokens,
        positions=tiles * encoders[0].stacks[0].positions,
        values=tiles * 3 * height * width,
    )


def _count_pieces(tiling: Spec | None, image_size: ImageSize, *, tile: int) -> int:
    """Return into how many pictures one is cut, its thumbnail counted."""
    if tiling is None:
        return 1
    options: dict[str, Any] = {
        "min_tiles": 1,
        **{name: tiling[name] for name in ("min_tiles", "max_tiles", "rule") if name in tiling},
    }
    columns, rows = choose_tiles(image_size, tile=tile, **options)
    return columns * rows + (tiling.get("thumbnail", True) and columns * rows > 1)


def _input_size(architecture: Architecture, encoders: Sequence[EncoderFacts]) -> ImageSize:
    """Return (height, width) of the images that the processor makes."""
    given = architecture.image_size
    if given is not None:
        return (given, given) if isinstance(given, int) else (given[0], given[1])
    return max((encoder.image_size for encoder in encoders), key=lambda size: size[0] * size[1])


def _composed(architecture: Architecture) -> Anatomy:
    spec = architecture.language_model
    encoders = [encoder_facts(encoder) for encoder in architecture.encoder_specs]
    fused = _fused(architecture, encoders)
    projector, kept = _projector(architecture.projector, fused.width, spec["hidden_size"])
    first, *others = [stack for encoder in encoders for stack in encoder.stacks]
    return Anatomy(
        encoder=first.stack,
        encoder_edges=sum(encoder.edges for encoder in encoders),
        encoder_read=first.read,
        others=tuple(
            Beside(stack=other.stack, read=other.read, share=other.positions / first.positions) for other in others
        ),
        projector=projector + fused.parameters,
        projector_kept=kept,
        language_model=language_stack(spec, model_type=str(spec.get("model_type"))),
        vocab_size=spec["vocab_size"],
        is_tied=spec.get("tie_word_embeddings", False),
    )


@dataclass(frozen=True)
class _Fused:
    """What becomes of the encoders' maps: tokens of an image, width of each, and parameters that it takes."""

    tokens: int
    width: int
    parameters: int = 0


def _fused(architecture: Architecture, encoders: Sequence[EncoderFacts]) -> _Fused:
    spec = architecture.fusion or {"type": "channel_concat"}
    channels = [encoder.channels for encoder in encoders]
    common, fold = spec.get("grid_size"), spec.get("fold", 1)
    if isinstance(common, int):
        common = (common, common)
    if spec["type"] == "channel_concat":
        height, width = common or max((e.grid_size for e in encoders), key=lambda grid: grid[0] * grid[1])
        return _Fused(height * width // fold**2, sum(channels) * fold**2)
    if spec["type"] == "sequence_append":
        grids = [common or encoder.grid_size for encoder in encoders]
        wide = spec.get("width") or max(channels)
        parameters = sum(linear(count, wide) for count in channels if count != wide)
        return _Fused(sum(height * width for height, width in grids), wide, parameters)
    raise ConfigError(
        f"`fusion` must be one whose size has a formula (channel_concat, sequence_append), but is `{spec['type']}` "
        "instead; add one to vlmzoo/zoo/arithmetic.py."
    )


def _projector(spec: Spec, fan_in: int, fan_out: int) -> tuple[int, int]:
    """Parameters, and what backward reads of each token: the input of every layer, and of every GELU."""
    name = str(spec.get("type"))
    if name == "identity":
        return 0, 0
    digits = "1" if name == "linear" else name.removeprefix("mlp").removesuffix("x_gelu")
    if not digits.isdigit():
        raise ConfigError(f"`projector` must be identity, linear or mlpNx_gelu, but is `{name}` instead.")
    num_more = int(digits) - 1
    return linear(fan_in, fan_out) + num_more * linear(fan_out, fan_out), fan_in + 2 * num_more * fan_out
