"""Questions in, masks out: batched answers of a model with the seg adapter.

Letters: B samples, K masks of an answer.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vlmzoo.data.drawing import draw_masks
from vlmzoo.data.images import load_image
from vlmzoo.data.json_lines import write_whole
from vlmzoo.data.prompting import end_ids, prompt_inputs, sampling_exclusions, until_end
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Frame, Mask, encode_rle, mask_to_polygons
from vlmzoo.types import ImageLike, Sample, user

__all__ = ["Segmentation", "question_of", "seg_adapter", "segment_image", "segment_samples"]

_QUESTION = "Please segment the {name} in this image."
_ARTICLE = re.compile(r"^(the|a|an)\s+", flags=re.IGNORECASE)


class Segmentation(list[Mask]):
    """The masks of one answer, a list, with what was said.

    Args:
        masks: K of them, in the original frame of the image, in the order of their tokens.
        text: the answer; each mask's token stands in it.
        spans: K pairs of positions in ``text``, where each mask's token begins and ends.
        scores: K numbers, what the decoder believes of each mask's overlap with the truth, 0 to 1.
        reason: why there is no mask; empty where there is one.
        is_finished: whether the answer ended before the limit.
    """

    def __init__(
        self,
        masks: Iterable[Mask] = (),
        *,
        text: str = "",
        spans: Sequence[tuple[int, int]] = (),
        scores: Sequence[float] = (),
        reason: str = "",
        is_finished: bool = True,
    ) -> None:
        super().__init__(masks)
        self.text = text
        self.spans = list(spans)
        self.scores = list(scores)
        self.reason = reason
        self.is_finished = is_finished

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold: the text, and for each mask its span, runs, polygons, box and area.

        Runs are compressed as COCO does, polygons are flat lists x, y, x, y, …, boxes are x0, y0, x1, y1, in pixels.
        """
        masks = [
            {
                "span": list(span),
                "said": self.text[span[0] : span[1]],
                "score": round(score, 4),
                "area": mask.area,
                "box": None if mask.box() is None else list(mask.box().xyxy),  # type: ignore[union-attr]
                "rle": encode_rle(mask),
                "polygons": [ring.flatten().tolist() for ring in mask_to_polygons(mask)],
            }
            for mask, span, score in zip(self, self.spans, self.scores, strict=True)
        ]
        return {"text": self.text, "masks": masks, "reason": self.reason}

    def save(self, folder: str | Path, *, image: ImageLike, name: str = "answer") -> list[Path]:
        """Write the answer: the image with its masks drawn over it, and what ``to_dict`` tells.

        Args:
            folder: made if need be.
            image: that was asked about.
            name: of the files, without ending.

        Returns:
            The PNG and the JSON file.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        picture, told = place / f"{name}.png", place / f"{name}.json"
        draw_masks(load_image(image), self).save(picture)
        write_whole(told, json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")
        return [picture, told]


def question_of(text: str) -> str:
    """Return a whole question: a sentence stays as it is, a name such as "the lamp" is put into one."""
    text = text.strip()
    if text.endswith((".", "?", "!")):
        return text
    return _QUESTION.format(name=_ARTICLE.sub("", text))


def segment_samples(model: Any, samples: Sequence[Sample], *, max_new_tokens: int = 64) -> list[Segmentation]:
    """Answer B questions at once, greedily, with masks.

    Args:
        model: with the seg adapter; put into evaluation mode meanwhile.
        samples: each ends with a user's turn, and has an image.
        max_new_tokens: the limit of each answer.

    Returns:
        B answers. Masks stand in the original frames of the images: those of ``sample.masks`` where a sample has them,
        so that prediction and truth compare, or else frames named ``{id}/{number of the image}``.

    Raises:
        ConfigError: if the model has no seg adapter.
        DataError: if a sample does not end with a question, or its images cannot be used.
    """
    adapter = seg_adapter(model)
    processor = model.processor
    inputs = prompt_inputs(processor, samples, device=model.device, dtype=model.dtype)
    tokenizer = processor.tokenizer
    ends = end_ids(model, processor)
    said = [model.token_ids[adapter.token]]
    excluded = sampling_exclusions(processor, keep={*ends, *said})
    suppressed = {"suppress_tokens": excluded} if excluded else {}
    was_training = model.training
    model.eval()
    try:
        outputs = model.generate(
            **inputs, **suppressed, max_new_tokens=max_new_tokens, do_sample=False, return_dict_in_generate=True
        )
    finally:
        model.train(was_training)
    start = inputs["input_ids"].shape[1]
    answers = []
    for row, sample in enumerate(samples):
        ids = until_end(outputs.sequences[row, start:].tolist(), ends)
        kept = [number for number, column in enumerate(outputs.mask_columns[row]) if start <= column < start + len(ids)]
        text, spans = _text_of(tokenizer, ids, token=adapter.token)
        frame = _frame_of(sample)
        is_finished = bool(ids) and ids[-1] in ends
        answers.append(
            Segmentation(
                [_in_frame(outputs.masks[row][number], frame) for number in kept],
                text=text,
                spans=spans,
                scores=[outputs.mask_scores[row][number] for number in kept],
                reason=_reason(text, adapter.token, num_masks=len(kept), is_finished=is_finished),
                is_finished=is_finished,
            )
        )
    return answers


def segment_image(model: Any, image: ImageLike, text: str, *, max_new_tokens: int = 64) -> Segmentation:
    """Answer one question about an image with masks; see ``AdapterMixin.segment``."""
    picture = load_image(image)
    name = "image" if not isinstance(image, str) else image
    sample = Sample(messages=[user(question_of(text), num_images=1)], images=[picture], id=name)
    return segment_samples(model, [sample], max_new_tokens=max_new_tokens)[0]


def seg_adapter(model: Any) -> Any:
    """Return the adapter that makes masks.

    Raises:
        ConfigError: if the model has none, or several.
    """
    found = [adapter for adapter in model.attached.values() if "seg_pixels" in adapter.input_names]
    if len(found) != 1:
        held = ", ".join(f"`{label}`" for label in model.attached) or "none"
        raise ConfigError(
            f"To segment, a model must have one seg adapter, but has {len(found)} (its adapters: {held}); build it "
            "with `adapters=['seg']`, or load one that was trained."
        )
    return found[0]


def _frame_of(sample: Sample) -> Frame:
    """Return the original frame of a sample's last image."""
    if sample.masks:
        return sample.masks[-1].frame
    width, height = load_image(sample.images[-1]).size
    return Frame.original(f"{sample.id or 'sample'}/{len(sample.images) - 1}", width=width, height=height)


def _in_frame(mask: Mask, frame: Frame) -> Mask:
    return Mask(mask.array, frame=frame)


def _text_of(tokenizer: Any, ids: Sequence[int], *, token: str) -> tuple[str, list[tuple[int, int]]]:
    """Return an answer with its mask tokens, and where they stand in it."""
    token_id = tokenizer.convert_tokens_to_ids(token)
    special = set(tokenizer.all_special_ids) - {token_id}
    kept = [id for id in ids if id not in special]
    text = tokenizer.decode(kept, skip_special_tokens=False).strip()
    spans = [match.span() for match in re.finditer(re.escape(token), text)]
    if len(spans) == kept.count(token_id):
        return text, spans
    ends = [len(tokenizer.decode(kept[: place + 1]).strip()) for place, id in enumerate(kept) if id == token_id]
    return text, [(max(end - len(token), 0), end) for end in ends]  # it also spelt the token in pieces


def _reason(text: str, token: str, *, num_masks: int, is_finished: bool) -> str:
    """Say why there is no mask."""
    if num_masks:
        return ""
    cut = "" if is_finished else ", which was cut off at `max_new_tokens`"
    return f"The model did not say {token}; its answer{cut}: {text!r}."
