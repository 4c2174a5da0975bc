"""From a card's ``processor`` mapping to a processor."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from transformers import LlavaImageProcessorPil, PreTrainedTokenizerBase

from vlmzoo.data.processing import VlmProcessor
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.tiling import Tiling
from vlmzoo.data.tokenizers import TOKENIZERS
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = [
    "build_image_processor",
    "build_tokenizer",
    "channel_statistics",
    "chat_template",
    "check_processor",
    "make_processor",
    "resampling",
]

_STATISTICS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Channel means and standard deviations, as fractions of full scale, by the name of what was trained with them."""

_PROCESSOR_PARTS = ("image", "tokenizer", "chat_template", "tiling")
_RESAMPLING = {"nearest": 0, "bilinear": 2, "bicubic": 3}


def build_tokenizer(spec: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Build the tokenizer of a card.

    Raises:
        ConfigError: if ``spec`` has no tokenizer.
    """
    if "tokenizer" not in spec:
        raise ConfigError("`processor` must have a `tokenizer`, but has none; e.g. {type: pretrained, repo: …}.")
    return TOKENIZERS.build(spec["tokenizer"])


def build_image_processor(
    *,
    size: int | Sequence[int],
    aspect: Literal["square", "pad", "crop"] = "pad",
    mean: str | Sequence[float] = "clip",
    std: str | Sequence[float] = "clip",
    resample: Literal["nearest", "bilinear", "bicubic"] = "bicubic",
) -> LlavaImageProcessorPil:
    """Build what turns pictures into ``pixel_values``.

    Args:
        size: side or (height, width) of the result, in pixels.
        aspect: ``square`` stretches to ``size``; ``pad`` first pads to a square with the mean colour; ``crop``
            scales the short side to ``size`` and cuts the centre out.
        mean: channel means as fractions of full scale, or the name of a known set (clip, half, imagenet).
        std: standard deviations, likewise.
        resample: interpolation.

    Raises:
        ConfigError: if an option is unknown, or ``pad`` and ``crop`` are asked for something not square.
    """
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    if aspect not in ("square", "pad", "crop"):
        hint = nearest_hint(str(aspect), ("square", "pad", "crop"))
        raise ConfigError(f"`aspect` must be square, pad or crop, but is {aspect!r} instead.{hint}")
    if aspect != "square" and height != width:
        raise ConfigError(f"`aspect: {aspect}` needs a square `size`, but it is {size!r}; use `aspect: square`.")
    return LlavaImageProcessorPil(
        do_pad=aspect == "pad",
        size={"shortest_edge": height} if aspect == "crop" else {"height": height, "width": width},
        do_center_crop=aspect == "crop",
        crop_size={"height": height, "width": width},
        resample=resampling(resample),
        image_mean=list(channel_statistics(mean, "mean", 0)),
        image_std=list(channel_statistics(std, "std", 1)),
    )


def resampling(name: str) -> int:
    """Return Pillow's number of an interpolation.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in _RESAMPLING:
        raise ConfigError(f"`resample` must be one of {', '.join(_RESAMPLING)}, but is {name!r} instead.")
    return _RESAMPLING[name]


def channel_statistics(given: str | Sequence[float], name: str, place: int) -> Sequence[float]:
    """Return three numbers, one per channel.

    Args:
        given: the numbers, or the name of a known set.
        name: of the option, for messages.
        place: 0 for means, 1 for standard deviations.

    Raises:
        ConfigError: if there is no such set, or there are not three numbers.
    """
    if isinstance(given, str):
        if given not in _STATISTICS:
            hint = nearest_hint(given, _STATISTICS)
            raise ConfigError(f"`{name}` must be 3 numbers or one of {', '.join(_STATISTICS)}, but is {given!r}.{hint}")
        return _STATISTICS[given][place]
    if len(given) != 3:
        raise ConfigError(f"`{name}` must be 3 numbers, one per channel, but is {given!r} instead.")
    return given


def check_processor(spec: Mapping[str, Any]) -> None:
    """Check a card's ``processor`` for all but its tokenizer, which may have to be fetched.

    Raises:
        ConfigError: if something is missing or unknown.
    """
    _parts(spec)


def make_processor(
    spec: Mapping[str, Any], *, tokenizer: PreTrainedTokenizerBase, num_image_tokens: int
) -> VlmProcessor:
    """Put a processor together.

    Args:
        spec: ``{image, tokenizer, chat_template, tiling}`` as a card writes it; ``tiling`` may be left out. The image's
            ``aspect`` may also be ``pad_corner``, which pads below and on the right, as SEAL's search model does.
        tokenizer: already built.
        num_image_tokens: N, what the model makes of one image.

    Raises:
        ConfigError: if something is missing or unknown.
    """
    return VlmProcessor(tokenizer=tokenizer, num_image_tokens=num_image_tokens, **_parts(spec))


def _parts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a processor is made of beside its tokenizer."""
    unknown = set(spec) - set(_PROCESSOR_PARTS)
    if unknown:
        name = sorted(unknown)[0]
        raise ConfigError(f"`processor` takes no `{name}`.{nearest_hint(name, _PROCESSOR_PARTS)}")
    template = chat_template(spec.get("chat_template", "plain"))
    try:
        image = dict(spec["image"])
        pads_corner = image.get("aspect") == "pad_corner"
        image_processor = build_image_processor(**{**image, **({"aspect": "pad"} if pads_corner else {})})
    except (KeyError, TypeError) as error:
        raise ConfigError(f"`processor.image` cannot be built: {error}.") from error
    tiling = spec.get("tiling")
    if tiling is not None:
        Tiling.of(tiling)
        if image_processor.crop_size["height"] != image_processor.crop_size["width"]:
            raise ConfigError(f"`tiling` needs a square `processor.image.size`, but it is {spec['image']['size']!r}.")
    corner = {"pads_corner": True} if pads_corner else {}
    return {"image_processor": image_processor, "chat_template": template, "tiling": tiling, **corner}


def chat_template(name: str) -> str:
    """Return a chat template of ours, with ``{% generation %}`` marks.

    Raises:
        ConfigError: if there is none of this name.
    """
    templates = load_prompts("chat_templates")
    if name not in templates:
        known = ", ".join(sorted(templates))
        raise ConfigError(f"There is no chat template named `{name}`.{nearest_hint(name, templates)} Known: {known}.")
    return templates[name]["template"]
