"""Processors of native bases: transformers' own, taught to encode whole conversations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from vlmzoo.data.assembly import channel_statistics, chat_template, resampling
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.errors import ConfigError
from vlmzoo.models.native.table import NATIVE, NativeBase, native_base
from vlmzoo.registry import nearest_hint

__all__ = ["ProcessorChange", "build_native_processor", "finish_native_processor", "native_processor_class"]

_IMAGE_KINDS = ("pixels", "tiling", "image")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "aspect": (),
    "max": ("size",),
    "max_tiles": ("max_patches",),
    "mean": ("image_mean",),
    "min": ("size",),
    "min_tiles": ("min_patches",),
    "resample": ("resample",),
    "size": ("size", "crop_size"),
    "std": ("image_std",),
}
"""Which fields of transformers' image processors follow from which key of a spec."""


@cache
def native_processor_class(model_type: str) -> type[ProcessorMixin]:
    """Return transformers' processor class, taught to encode conversations; it keeps its name.

    Raises:
        ConfigError: if the architecture is no native base.
    """
    entry = native_base(model_type)
    base: type[ProcessorMixin] = getattr(transformers, entry.processor)
    return type(entry.processor, (SampleEncoding, base), {"__module__": __name__, "__doc__": base.__doc__})


def build_native_processor(
    spec: Mapping[str, Any], *, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig
) -> Any:
    """Build the processor of a native base.

    Args:
        spec: ``pixels: {min, max}``, ``tiling: {size, min_tiles, max_tiles}`` or ``image: {size}``, each with ``mean``
            and ``std``, as a card writes it.
        tokenizer: already built.
        config: of the model.

    Raises:
        ConfigError: if a pixel budget makes no sense for the architecture, or something is unknown.
    """
    image_processor, options = _image_parts(spec, config)
    built = native_processor_class(config.model_type)(image_processor=image_processor, tokenizer=tokenizer, **options)
    return finish_native_processor(built, config.model_type, template=spec.get("chat_template"))


@dataclass(frozen=True, kw_only=True)
class ProcessorChange:
    """How the processor that a model was published with is to differ.

    Args:
        image: fields of its image processor, and their new values.
        chat_template: the new one; None leaves it.
    """

    image: Mapping[str, Any]
    chat_template: str | None

    @classmethod
    def of(cls, given: Mapping[str, Any], wanted: Mapping[str, Any], config: PreTrainedConfig) -> "ProcessorChange":
        """Say what a spec changes, without a tokenizer.

        Args:
            given: what is asked for, as `build_native_processor` takes it.
            wanted: the same with the card's spec below it.
            config: of the model.

        Raises:
            ConfigError: if ``wanted`` cannot be built.
        """
        image_processor, _ = _image_parts(wanted, config)
        keys = [key for kind in _IMAGE_KINDS for key in given.get(kind) or {}]
        fields = {field for key in keys for field in _FIELDS[key]} & image_processor.to_dict().keys()
        name = given.get("chat_template")
        return cls(
            image={field: getattr(image_processor, field) for field in fields},
            chat_template=None if name is None else chat_template(name),
        )

    def apply(self, processor: Any) -> None:
        """Change a processor, and what it has beyond this stays."""
        for name, value in self.image.items():
            setattr(processor.image_processor, name, value)
        if self.chat_template is not None:
            processor.chat_template = self.chat_template


def _image_parts(spec: Mapping[str, Any], config: Any) -> tuple[Any, dict[str, Any]]:
    """Build the image processor, and the options that the processor takes beside it."""
    entry = native_base(config.model_type)
    kind = "pixels" if entry.pixel_unit is not None else "tiling" if config.model_type == "internvl" else "image"
    known = (kind, "tokenizer", "chat_template")
    for key in spec:
        if key not in known:
            raise ConfigError(f"`processor` of a `{config.model_type}` takes no `{key}`.{nearest_hint(key, known)}")
    vision = config.vision_config
    if kind == "tiling":
        return _internvl_parts(entry, spec, config)
    if kind == "image":
        return _llava_parts(entry, spec, config)
    pixels = spec.get("pixels", {})
    budget = _pixel_budget(pixels, unit=vision.patch_size * vision.spatial_merge_size)
    shape = {
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.spatial_merge_size,
    }
    image_processor = _made(entry.image_processor, size=budget, **_statistics(pixels), **shape)
    return image_processor, {"video_processor": _made(str(entry.video_processor), **shape)}


def finish_native_processor(processor: Any, model_type: str, *, template: str | None = None) -> Any:
    """Give a processor a chat template with ``{% generation %}`` marks, unless its own has them.

    Args:
        processor: of one of our classes.
        model_type: of the model.
        template: ours by name; None takes the architecture's.
    """
    if "generation %}" not in str(getattr(processor, "chat_template", None) or ""):
        name = template or native_base(model_type).chat_template
        processor.chat_template = chat_template(name)
    return processor


def _pixel_budget(pixels: Mapping[str, Any], *, unit: int) -> dict[str, int]:
    """Return transformers' ``size`` for a budget of ``min`` to ``max`` pixels.

    Raises:
        ConfigError: if the budget is empty or below one visual token.
    """
    _check_keys(pixels, "pixels", ("min", "max", "mean", "std"))
    least, most = pixels.get("min", 4 * unit * unit), pixels.get("max", 1280 * unit * unit)
    for name, value in (("min", least), ("max", most)):
        if isinstance(value, bool) or not isinstance(value, int) or value < unit * unit:
            raise ConfigError(
                f"`processor.pixels.{name}` must be a whole number of at least {unit * unit} (one visual token of "
                f"{unit} × {unit} pixels), but is {value!r} instead."
            )
    if least > most:
        raise ConfigError(f"`processor.pixels.min` ({least}) must not be above `max` ({most}).")
    return {"shortest_edge": least, "longest_edge": most}


def _check_keys(spec: Mapping[str, Any], name: str, known: Sequence[str]) -> None:
    for key in spec:
        if key not in known:
            raise ConfigError(f"`processor.{name}` takes no `{key}`.{nearest_hint(key, known)}")


def _statistics(spec: Mapping[str, Any], default: str = "clip") -> dict[str, Any]:
    return {
        "image_mean": list(channel_statistics(spec.get("mean", default), "mean", 0)),
        "image_std": list(channel_statistics(spec.get("std", default), "std", 1)),
    }


def _llava_parts(entry: NativeBase, spec: Mapping[str, Any], config: Any) -> tuple[Any, dict[str, Any]]:
    image = spec.get("image", {})
    _check_keys(image, "image", ("aspect", "size", "mean", "std", "resample"))
    if image.get("aspect", "crop") != "crop":
        raise ConfigError(f"`processor.image.aspect` of a llava-hf model must be crop, but is {image['aspect']!r}.")
    side = image.get("size", config.vision_config.image_size)
    image_processor = _made(
        entry.image_processor,
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        resample=resampling(image.get("resample", "bicubic")),
        **_statistics(image),
    )
    return image_processor, {
        "patch_size": config.vision_config.patch_size,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        "num_additional_image_tokens": 1,
    }


def _internvl_parts(entry: NativeBase, spec: Mapping[str, Any], config: Any) -> tuple[Any, dict[str, Any]]:
    tiling = spec.get("tiling", {})
    _check_keys(tiling, "tiling", ("size", "min_tiles", "max_tiles", "mean", "std"))
    height, width = config.vision_config.image_size
    patch_height, patch_width = config.vision_config.patch_size
    if tiling.get("size", height) != height:
        raise ConfigError(f"`processor.tiling.size` must be the vision tower's {height}, but is {tiling['size']!r}.")
    tokens = (height // patch_height) * (width // patch_width) * config.downsample_ratio**2
    image_processor = _made(
        entry.image_processor,
        size={"height": height, "width": width},
        crop_to_patches=True,
        min_patches=tiling.get("min_tiles", 1),
        max_patches=tiling.get("max_tiles", 12),
        **_statistics(tiling, "imagenet"),
    )
    video_processor = _made(str(entry.video_processor), size={"height": height, "width": width})
    return image_processor, {"image_seq_length": int(tokens), "video_processor": video_processor}


def _made(name: str, **options: Any) -> Any:
    return getattr(transformers, name)(**options)


def __getattr__(name: str) -> Any:
    """Find a class by its name, so that processors can be pickled."""
    for model_type, entry in NATIVE.items():
        if entry.processor == name:
            return native_processor_class(model_type)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`.")
