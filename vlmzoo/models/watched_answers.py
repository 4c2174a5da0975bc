"""Greedy answers with what was looked at: the share of attention on the asked image, and how sure the model was.

Source: MIA-DPO, arXiv:2410.17637, section 3.2.
Letters: B questions, T decoding steps, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.images import load_image
from vlmzoo.data.mia.attention import (
    ImageSpan,
    attention_maps,
    region_share,
    region_weights,
    sequence_share,
    tile_weights,
)
from vlmzoo.data.mia.building import MiaItem
from vlmzoo.data.mia.pictures import grid_layout
from vlmzoo.data.mia.selection import greedy_perplexity
from vlmzoo.data.prompting import awaited_ids, end_ids, sampling_exclusions
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.geometry import Box, Frame
from vlmzoo.models.attention_capture import AttentionRecord, capture_attention
from vlmzoo.models.image_spans import image_spans

__all__ = ["Region", "WatchedAnswer", "answer_watched"]

Region = Literal["reference", "exact"]
"""``reference`` takes the authors' fixed blocks of tokens; ``exact`` follows the asked image through padding."""


@dataclass(frozen=True, kw_only=True)
class WatchedAnswer:
    """What a model said, and looked at.

    Args:
        text: of the answer.
        ratio: share of the attention on the asked image, within [0, 1].
        perplexity: of the answer.
    """

    text: str
    ratio: float
    perplexity: float


@torch.no_grad()
def answer_watched(
    model: Any,
    processor: Any,
    items: Sequence[MiaItem],
    *,
    shown: Sequence[Any] | None = None,
    max_new_tokens: int = 512,
    layer: int | None = None,
    region: Region = "reference",
    include_prompt: bool = False,
) -> list[WatchedAnswer]:
    """Answer B questions greedily, in one batch.

    Args:
        model: any base.
        processor: of the model.
        items: the questions.
        shown: images in place of each item's own, e.g. with noise; None for a clean look.
        max_new_tokens: the limit.
        layer: whose attention counts, from 0; None for the middle one.
        region: which tokens are the asked image's, within one picture.
        include_prompt: whether the look that produced the first token counts, too; it always does where an answer has
            but one token.

    Raises:
        ConfigError: if the region is unknown, or cannot be followed through the model's processor.
        DataError: if the model does not show each image as one grid of tokens.
    """
    if region not in ("reference", "exact"):
        raise ConfigError(f"`region` must be reference or exact, but is {region!r} instead.")
    asked = [prompt_of(item.sample) for item in items]
    if shown is not None:
        asked = [replace(sample, images=images) for sample, images in zip(asked, shown, strict=True)]
    collate = Collator(pad_token_id=processor.padding_id, side="left", adapter_inputs=processor.adapter_inputs)
    batch = collate([{**processor.encode_prompt(sample), "labels": []} for sample in asked])
    inputs = {n: v.to(model.device) for n, v in batch.inputs.items() if n != "labels" and isinstance(v, torch.Tensor)}
    ends = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep={*ends, *awaited_ids(model, processor)})
    options: dict[str, Any] = {"suppress_tokens": excluded} if excluded else {}
    with capture_attention(model, layer=layer) as record:
        outputs = model.generate(
            **inputs,
            **options,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
    surest = torch.stack([step.float().log_softmax(-1).amax(-1) for step in outputs.logits], dim=1).tolist()  # (B, T)
    spans = image_spans(model, inputs["input_ids"], image_grid_thw=inputs.get("image_grid_thw"))
    answers: list[WatchedAnswer] = []
    for row, (item, ids) in enumerate(
        zip(items, outputs.sequences[:, inputs["input_ids"].shape[1] :].tolist(), strict=True)
    ):
        num = next((place + 1 for place, id in enumerate(ids) if id in ends), len(ids))
        answers.append(
            WatchedAnswer(
                text=processor.tokenizer.decode(ids[:num], skip_special_tokens=True).strip(),
                ratio=_ratio(item, record, row, num, spans[row], processor, region, include_prompt),
                perplexity=greedy_perplexity(surest[row][:num]),
            )
        )
    return answers


def _ratio(
    item: MiaItem,
    record: AttentionRecord,
    row: int,
    num_tokens: int,
    spans: Sequence[ImageSpan],
    processor: Any,
    region: Region,
    include_prompt: bool,
) -> float:
    """Return the asked image's share of what was looked at; 0 for an image that is not there."""
    expected = len(item.sample.images)
    if len(spans) != expected:
        raise DataError(
            f"`{item.id}` must show {expected} grids of visual tokens, but shows {len(spans)}; switch tiling off."
        )
    if item.is_refusal:
        return 0.0
    steps = record.step_attention(row, num_tokens=num_tokens, include_prompt=include_prompt or num_tokens == 1)
    maps = attention_maps(steps, spans)
    if item.kind == "sequence":
        return sequence_share(maps, item.target)
    grid: dict[str, Any] = {"grid_height": spans[0].grid_height, "grid_width": spans[0].grid_width}
    if region == "exact":
        width, height = load_image(item.sample.images[0]).size
        frame = Frame.original(item.id, width=width, height=height)
        assert item.box is not None
        weights = region_weights(Box.from_xyxy(item.box, frame=frame), seen=_seen(frame, processor), **grid)
    elif item.kind == "grid":
        layout = grid_layout(item.num_images)
        rows, columns = layout.num_rows, layout.num_columns
        weights = tile_weights(index=item.target - 1, num_rows=rows, num_columns=columns, **grid)
    else:
        weights = region_weights(None, **grid)
    return region_share(maps[0], weights)


def _seen(frame: Frame, processor: Any) -> Frame:
    """Return the frame that the grid of visual tokens divides.

    Raises:
        ConfigError: if the processor cuts pictures.
    """
    images = processor.image_processor
    if getattr(images, "do_center_crop", False):
        raise ConfigError("`region: exact` needs a processor that pads or resizes, but this one crops; use reference.")
    return frame.padded_to_square(align="center") if getattr(images, "do_pad", False) else frame
