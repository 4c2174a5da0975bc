"""Asking a switch: an answer with its confidence, or what is missing; freely or among options, several at once.

Letters: B samples, L generated tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from vlmzoo.data.focus import FocusObject, Layout, focus_sample
from vlmzoo.data.prompting import end_ids, prompt_inputs, sampling_exclusions, until_end
from vlmzoo.data.refusals import missing_objects, refusal_of
from vlmzoo.models.option_scoring import option_ids, option_losses
from vlmzoo.types import ImageLike, Sample

__all__ = ["SwitchAnswer", "ask", "ask_samples", "choose"]


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
        num_prompt_tokens: positions of the question, visual tokens included.
        num_new_tokens: L, the end included.
    """

    text: str
    missing: Sequence[str] | None
    confidence: float
    option: int | None = None
    losses: Sequence[float] = field(default_factory=list)
    num_prompt_tokens: int = 0
    num_new_tokens: int = 0


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
    sample = focus_sample(image, question, objects, layout=layout)
    return ask_samples(model, [sample], is_strict=is_strict, max_new_tokens=max_new_tokens)[0]


def ask_samples(
    model: Any,
    samples: Sequence[Sample],
    *,
    is_strict: bool = False,
    may_refuse: bool = True,
    max_new_tokens: int = 200,
) -> list[SwitchAnswer]:
    """Ask B questions in one batch, freely and greedily.

    Args:
        model: put into evaluation mode meanwhile.
        samples: as ``focus_sample`` makes them.
        is_strict: whether a refusal must be the authors' words to the letter.
        may_refuse: False forbids an answer to begin as the refusal does; the next likeliest words come instead.
        max_new_tokens: the limit of each answer.

    Raises:
        DataError: if a sample does not end with a question, or its images cannot be used.
    """
    processor = model.processor
    inputs = prompt_inputs(processor, samples, device=model.device, dtype=model.dtype)
    ends = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep=ends)
    start = inputs["input_ids"].shape[1]
    options: dict[str, Any] = {"suppress_tokens": excluded} if excluded else {}
    if not may_refuse:
        forbidden = ForbiddenBeginning(_beginning_of_refusal(processor, samples[0]), start=start)
        options["logits_processor"] = LogitsProcessorList([forbidden])
    was_training = model.training
    model.eval()
    try:
        outputs = model.generate(
            **inputs,
            **options,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
    finally:
        model.train(was_training)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    answers = []
    for row, length in enumerate(lengths):
        ids = until_end(outputs.sequences[row, start:].tolist(), ends)
        nats = [
            -float(logits[row].float().log_softmax(-1)[id]) for logits, id in zip(outputs.logits, ids, strict=False)
        ]
        text = processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        answers.append(
            SwitchAnswer(
                text=text,
                missing=missing_objects(text, strict=is_strict),
                confidence=float(torch.tensor(nats).mean().neg().exp()) if nats else 0.0,
                num_prompt_tokens=int(length),
                num_new_tokens=len(ids),
            )
        )
    return answers


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


class ForbiddenBeginning(LogitsProcessor):
    """Keeps completions from beginning with some ids; once they begin otherwise, everything may be said.

    Args:
        ids: of the beginning.
        start: position at which completions begin.
    """

    def __init__(self, ids: Sequence[int], *, start: int) -> None:
        self.ids = list(ids)
        self.start = start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Forbid the last id of the beginning where all before it were said: scores ``(B, V)`` of ids ``(B, T)``."""
        said = input_ids[:, self.start :]
        if said.shape[1] != len(self.ids) - 1:
            return scores
        before = torch.tensor(self.ids[:-1], dtype=said.dtype, device=said.device)
        begins = (said == before).all(dim=1)  # (B,); of no ids all are said
        kept = scores.clone()
        kept[begins, self.ids[-1]] = -torch.inf
        return kept


def _beginning_of_refusal(processor: Any, sample: Sample) -> list[int]:
    """Return the ids of the refusal's first word, which no other answer should begin with."""
    sentence = refusal_of([])
    ids = option_ids(processor, sample, sentence)
    word = sentence.split(",")[0].split()[0]
    for length in range(1, len(ids)):
        if processor.tokenizer.decode(ids[:length]).strip().startswith(word):
            return list(ids[:length])
    return list(ids)
