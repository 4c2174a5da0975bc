"""Which of transformers' models are bases: their classes, their parts, their processors' habits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo import TOKEN_FIELDS

__all__ = ["NATIVE", "NativeBase", "native_base"]

_QWEN_PARTS = {
    "encoder": ("model.visual.",),
    "projector": ("model.visual.merger.", "model.visual.deepstack_merger_list."),
    "language_model": ("model.language_model.", "lm_head."),
}
_LLAVA_PARTS = {
    "encoder": ("model.vision_tower.",),
    "projector": ("model.multi_modal_projector.",),
    "language_model": ("model.language_model.", "lm_head."),
}


@dataclass(frozen=True, kw_only=True)
class NativeBase:
    """One architecture of transformers.

    Args:
        model: class of the model, by name.
        processor: class of its processor, by name.
        image_processor: class of its image processor, by name.
        video_processor: class of its video processor, by name; None where it has none.
        parts: names of the parts, and what the names of their parameters begin with.
        tokens: fields of the configuration that hold ids, and the tokens whose ids they are.
        chat_template: ours, for a processor whose own has no ``{% generation %}`` marks.
        pixel_unit: side of the square that becomes one visual token, in pixels; None for grids of fixed size.
    """

    model: str
    processor: str
    image_processor: str
    video_processor: str | None
    parts: Mapping[str, tuple[str, ...]]
    tokens: Mapping[str, str]
    chat_template: str
    pixel_unit: int | None = field(default=None)


NATIVE: Mapping[str, NativeBase] = {
    "qwen2_vl": NativeBase(
        model="Qwen2VLForConditionalGeneration",
        processor="Qwen2VLProcessor",
        image_processor="Qwen2VLImageProcessor",
        video_processor="Qwen2VLVideoProcessor",
        parts=_QWEN_PARTS,
        tokens=TOKEN_FIELDS["qwen2_vl"],
        chat_template="qwen2_vl",
        pixel_unit=28,
    ),
    "qwen2_5_vl": NativeBase(
        model="Qwen2_5_VLForConditionalGeneration",
        processor="Qwen2_5_VLProcessor",
        image_processor="Qwen2VLImageProcessor",
        video_processor="Qwen2VLVideoProcessor",
        parts=_QWEN_PARTS,
        tokens=TOKEN_FIELDS["qwen2_5_vl"],
        chat_template="qwen2_vl",
        pixel_unit=28,
    ),
    "qwen3_vl": NativeBase(
        model="Qwen3VLForConditionalGeneration",
        processor="Qwen3VLProcessor",
        image_processor="Qwen2VLImageProcessor",
        video_processor="Qwen3VLVideoProcessor",
        parts=_QWEN_PARTS,
        tokens=TOKEN_FIELDS["qwen3_vl"],
        chat_template="qwen3_vl",
        pixel_unit=32,
    ),
    "llava": NativeBase(
        model="LlavaForConditionalGeneration",
        processor="LlavaProcessor",
        image_processor="CLIPImageProcessor",
        video_processor=None,
        parts=_LLAVA_PARTS,
        tokens=TOKEN_FIELDS["llava"],
        chat_template="llava_hf",
    ),
    "internvl": NativeBase(
        model="InternVLForConditionalGeneration",
        processor="InternVLProcessor",
        image_processor="GotOcr2ImageProcessor",
        video_processor="InternVLVideoProcessor",
        parts=_LLAVA_PARTS,
        tokens=TOKEN_FIELDS["internvl"],
        chat_template="internvl3_5",
    ),
}
"""By transformers' ``model_type``."""


def native_base(model_type: str) -> NativeBase:
    """Look an architecture up.

    Raises:
        ConfigError: if it is none of ours; the nearest name is in the message.
    """
    if model_type not in NATIVE:
        known = ", ".join(NATIVE)
        raise ConfigError(
            f"`{model_type}` is no native base.{nearest_hint(model_type, NATIVE)} There are: {known}; another is one "
            "entry in vlmzoo/models/native/table.py."
        )
    return NATIVE[model_type]
