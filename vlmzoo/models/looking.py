"""Asking a model with the ROI adapter: where to look, then the question with that region before it."""

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from vlmzoo.adapters.roi import RoiAdapter
from vlmzoo.data.images import load_image
from vlmzoo.data.prompting import end_ids, prompt_inputs, sampling_exclusions
from vlmzoo.data.regions import Region
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import ImageLike, Sample

__all__ = ["LookAnswer", "answer_region", "look_and_answer", "roi_adapter", "say_region"]


@dataclass(frozen=True, kw_only=True)
class LookAnswer:
    """What a model said in two turns.

    Args:
        text: the answer.
        said: where it would look, in its own words.
        region: what was read of that; ``fault`` says why it is the whole image.
    """

    text: str
    said: str
    region: Region


def look_and_answer(
    model: Any,
    image: ImageLike,
    question: str,
    *,
    asks_letter: bool = False,
    max_region_tokens: int = 128,
    max_new_tokens: int = 128,
) -> LookAnswer:
    """Ask greedily for a region, then for the answer.

    Args:
        model: with the ROI adapter; put into evaluation mode meanwhile.
        image: that is asked about.
        question: of the user.
        asks_letter: whether an option's letter is asked for.
        max_region_tokens: the limit of the first turn; the authors' is 128.
        max_new_tokens: the limit of the second.

    Raises:
        ConfigError: if the model has no ROI adapter.
        DataError: if the image cannot be used.
    """
    adapter = roi_adapter(model)
    picture = load_image(image)
    said, region = say_region(model, picture, question, max_new_tokens=max_region_tokens)
    sample = adapter.answer_sample(picture, question, said=said, region=region, asks_letter=asks_letter)
    return LookAnswer(text=_said(model, sample, max_new_tokens=max_new_tokens), said=said, region=region)


def say_region(model: Any, image: ImageLike, question: str, *, max_new_tokens: int = 128) -> tuple[str, Region]:
    """Ask greedily for a region alone; return what was said, and what was read of it.

    Raises:
        ConfigError: if the model has no ROI adapter.
        DataError: if the image cannot be used.
    """
    adapter = roi_adapter(model)
    picture = load_image(image)
    said = _said(model, adapter.region_sample(picture, question), max_new_tokens=max_new_tokens)
    return said, adapter.read(said, picture)


def answer_region(
    model: Any, image: ImageLike, question: str, *, said: str, crop: Image.Image, max_new_tokens: int = 128
) -> str:
    """Ask greedily for the answer, with a region in words and in pixels before the question.

    Raises:
        ConfigError: if the model has no ROI adapter.
        DataError: if the image cannot be used.
    """
    picture = load_image(image)
    square = Frame.original("image", width=picture.width, height=picture.height).padded_to_square(align="center")
    whole = Region(box=Box.whole(square))
    sample = roi_adapter(model).answer_sample(picture, question, said=said, region=whole)
    return _said(model, replace(sample, images=[picture, crop]), max_new_tokens=max_new_tokens)


def roi_adapter(model: Any) -> RoiAdapter:
    """Return the adapter that says how to look twice.

    Raises:
        ConfigError: if the model has none.
    """
    for adapter in model.attached.values():
        if isinstance(adapter, RoiAdapter):
            return adapter
    held = ", ".join(f"`{label}`" for label in model.attached) or "none"
    raise ConfigError(
        f"To look for a region, a model must have the ROI adapter, but its adapters are {held}; build it with "
        "`adapters=['roi']`."
    )


def _said(model: Any, sample: Sample, *, max_new_tokens: int) -> str:
    processor = model.processor
    inputs = prompt_inputs(processor, [sample], device=model.device, dtype=model.dtype)
    ends = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep=ends)
    suppressed = {"suppress_tokens": excluded} if excluded else {}
    was_training = model.training
    model.eval()
    try:
        ids = model.generate(**inputs, **suppressed, max_new_tokens=max_new_tokens, do_sample=False)
    finally:
        model.train(was_training)
    said = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return processor.tokenizer.decode(said, skip_special_tokens=True).strip()
