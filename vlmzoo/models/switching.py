"""Asking a switch: an answer with its confidence, or what is missing; freely or among options.

Letters: L generated tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from vlmzoo.data.focus import FocusObject, Layout, focus_sample
from vlmzoo.data.prompting import end_ids, prompt_inputs, sampling_exclusions
from vlmzoo.data.refusals import missing_objects
from vlmzoo.models.option_scoring import option_losses
from vlmzoo.types import ImageLike

__all__ = ["SwitchAnswer", "ask", "choose"]


@dataclass(frozen=True, kw_only=True)
class SwitchAnswer:
    """What a switch said.

    Args:
        text: as it was said; of options, the one that was chosen.
        missing: the objects that it could not see; None if it answered.
        confidence: within [0, 1]. Of a free answer the geometric mean of its tokens' probabilities; of options the
            lead of the likeliest over the next, after a softmax over minus their losses.
        option: place of the chosen option; None where there were none.
        losses: of the options, in nats.
    """

    text: str
    missing: Sequence[str] | None
    confidence: float
    option: int | None = None
    losses: Sequence[float] = field(default_factory=list)


def ask(
    model: Any,
    image: ImageLike,
    question: str,
    *,
    objects: Sequence[FocusObject] = (),
    layout: Layout = "seal",
    is_strict: bool = False,
    max_new_tokens: int = 200,
) -> SwitchAnswer:
    """Ask freely, greedily, with or without objects that were found.

    Args:
        model: put into evaluation mode meanwhile.
        image: that is asked about.
        question: of the user.
        objects: what was found; shown as crops, with their places.
        layout: which forms image and objects have.
        is_strict: whether a refusal must be the authors' words to the letter.
        max_new_tokens: the limit of the answer; the authors' is 200.

    Raises:
        DataError: if the image cannot be used, or an object lies outside of it.
    """
    processor = model.processor
    sample = focus_sample(image, question, objects, layout=layout)
    inputs = prompt_inputs(processor, [sample], device=model.device, dtype=model.dtype)
    ends = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep=ends)
    was_training = model.training
    model.eval()
    try:
        outputs = model.generate(
            **inputs,
            **({"suppress_tokens": excluded} if excluded else {}),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
    finally:
        model.train(was_training)
    ids = outputs.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    length = next((place + 1 for place, id in enumerate(ids) if id in ends), len(ids))
    nats = [
        -float(logits[0].float().log_softmax(-1)[id]) for logits, id in zip(outputs.logits, ids[:length], strict=False)
    ]
    text = processor.tokenizer.decode(ids[:length], skip_special_tokens=True).strip()
    confidence = float(torch.tensor(nats).mean().neg().exp()) if nats else 0.0
    return SwitchAnswer(text=text, missing=missing_objects(text, strict=is_strict), confidence=confidence)


def choose(
    model: Any,
    image: ImageLike,
    question: str,
    options: Sequence[str],
    *,
    objects: Sequence[FocusObject] = (),
    layout: Layout = "seal",
) -> SwitchAnswer:
    """Choose the likeliest of several answers; the question is read once for all of them.

    Args:
        model: put into evaluation mode meanwhile.
        image: that is asked about.
        question: of the user.
        options: the answers.
        objects: what was found.
        layout: which forms image and objects have.

    Raises:
        DataError: if there is no option, the image cannot be used, or an object lies outside of it.
    """
    losses = option_losses(model, focus_sample(image, question, objects, layout=layout), options)
    shares = (-losses).softmax(dim=0).sort(descending=True).values
    lead = float(shares[0] - shares[1]) if len(shares) > 1 else 1.0
    best = int(losses.argmin())
    return SwitchAnswer(text=options[best], missing=None, confidence=lead, option=best, losses=losses.tolist())
