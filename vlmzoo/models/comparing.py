"""Same or not, asked of any model: an answer, why, and how sure the model is of it.

Source: TWIN, arXiv:2512.23592; the tags are its own, the words of the questions are ours.
Letters: B samples, T text positions.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from vlmzoo.data.collation import Collator
from vlmzoo.data.prompting import end_ids, prompt_inputs, sampling_exclusions, until_end
from vlmzoo.data.sizing import ImageSizing
from vlmzoo.errors import ConfigError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.scoring.answer_tag import COUNTS, YES_NO, AnswerParser
from vlmzoo.types import ImageLike, Sample, assistant, user

__all__ = [
    "Comparison",
    "MatchCount",
    "answer_samples",
    "choice_logprobs",
    "compare_images",
    "count_matching",
    "yes_no_log_odds",
]

_PAIR = (
    "Do these two pictures show the very same thing? Other light, another angle or another background may change how "
    "it looks; its shape, colour, material and markings may not. Say what you compare, and end with "
    "<answer>yes</answer> or <answer>no</answer>."
)
_COUNT = (
    "The first picture shows a thing. How many of the other {num} show the very same thing? Say what you compare, and "
    "end with the number, from 0 to {num}, between <answer> and </answer>."
)
_OPEN = re.compile(r"<answer>", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a model says of two images.

    Args:
        same: whether they show one thing; where it gave no answer, whether that is the more probable.
        p_same: probability of yes, of yes and no, where the model begins its answer.
        explanation: what it said before.
        raw: all that it said.
        parsed_ok: whether it gave one of the two answers.
    """

    same: bool
    p_same: float
    explanation: str
    raw: str
    parsed_ok: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MatchCount:
    """How many candidates a model takes for the thing of the reference.

    Args:
        count: of them; None where it gave no number.
        explanation: what it said before.
        raw: all that it said.
        parsed_ok: whether it gave a number that can be.
    """

    count: int | None
    explanation: str
    raw: str
    parsed_ok: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def compare_images(
    model: Any, image_a: ImageLike, image_b: ImageLike, *, question: str | None, max_new_tokens: int
) -> Comparison:
    """Ask one question about two images; see ``GeneratingMixin.compare``."""
    sample = _asked([image_a, image_b], question or _PAIR)
    (raw,) = answer_samples(model, [sample], max_new_tokens=max_new_tokens)
    found = AnswerParser(labels=YES_NO).parse(raw)
    (log_odds,) = yes_no_log_odds(model, [sample], [raw])
    p_same = 1 / (1 + math.exp(-max(min(log_odds, 700.0), -700.0)))
    return Comparison(
        same=found.value == "yes" if found.is_parsed else p_same > 0.5,
        p_same=p_same,
        explanation=_before_answer(raw),
        raw=raw,
        parsed_ok=found.is_parsed,
    )


def count_matching(
    model: Any, reference: ImageLike, candidates: Sequence[ImageLike], *, question: str | None, max_new_tokens: int
) -> MatchCount:
    """Ask how many candidates match; see ``GeneratingMixin.count_matches``.

    Raises:
        ConfigError: if there is no candidate.
    """
    if not candidates:
        raise ConfigError("`candidates` must hold at least one image, but is empty.")
    sample = _asked([reference, *candidates], question or _COUNT.format(num=len(candidates)))
    (raw,) = answer_samples(model, [sample], max_new_tokens=max_new_tokens)
    labels = COUNTS if len(candidates) == len(COUNTS) - 1 else [str(number) for number in range(len(candidates) + 1)]
    found = AnswerParser(labels=labels).parse(raw)
    return MatchCount(
        count=int(found.value) if found.is_parsed and found.value else None,
        explanation=_before_answer(raw),
        raw=raw,
        parsed_ok=found.is_parsed,
    )


def answer_samples(model: Any, samples: Sequence[Sample], *, max_new_tokens: int) -> list[str]:
    """Answer B questions at once, greedily; the model is put into evaluation mode meanwhile."""
    processor = model.processor
    inputs = prompt_inputs(processor, samples, device=model.device, dtype=model.dtype)
    ends = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep=ends)
    suppressed = {"suppress_tokens": excluded} if excluded else {}
    was_training = model.training
    model.eval()
    try:
        ids = model.generate(**inputs, **suppressed, max_new_tokens=max_new_tokens, do_sample=False)
    finally:
        model.train(was_training)
    rows = ids[:, inputs["input_ids"].shape[1] :].tolist()
    return [processor.tokenizer.decode(until_end(row, ends), skip_special_tokens=True) for row in rows]


def yes_no_log_odds(model: Any, samples: Sequence[Sample], completions: Sequence[str]) -> list[float]:
    """Return how much more probable yes is than no where each completion begins its answer, in nats.

    Args:
        model: in whose eyes.
        samples: B, each ending with a user's turn.
        completions: what the model said; where it opened no tag, its answer begins at once.
    """
    places = [list(_OPEN.finditer(said)) for said in completions]
    starts = [said[: found[-1].end()] if found else "<answer>" for said, found in zip(completions, places, strict=True)]
    yes, no = (
        choice_logprobs(model, samples, [f"{start}{word}</answer>" for start in starts]) for word in ("yes", "no")
    )
    return [one - other for one, other in zip(yes, no, strict=True)]


@torch.no_grad()
def choice_logprobs(model: Any, samples: Sequence[Sample], texts: Sequence[str]) -> list[float]:
    """Return the log-probability of one text for each of B questions, its end included, in nats.

    Args:
        model: put into evaluation mode meanwhile.
        samples: B, each ending with a user's turn.
        texts: B of them.
    """
    processor = model.processor
    told = [replace(s, messages=[*s.messages, assistant(text)]) for s, text in zip(samples, texts, strict=True)]
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    batch = collate([processor.encode(sample) for sample in told]).to(model.device)
    inputs = dict(batch.inputs)
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    was_training = model.training
    model.eval()
    try:
        logprobs = model(**inputs, return_logits=False).logprobs
    finally:
        model.train(was_training)
    return torch.where(inputs["labels"] != IGNORED_LABEL, logprobs, 0.0).sum(dim=1).tolist()


def _asked(images: Sequence[ImageLike], question: str) -> Sample:
    cap = ImageSizing(unit=1, min_pixels=1)  # as in training: at most 512 pixels a side
    return Sample(messages=[user(question, num_images=len(images))], images=cap.apply(images), id="question")


def _before_answer(raw: str) -> str:
    found = list(_OPEN.finditer(raw))
    return raw[: found[-1].start()].strip() if found else raw.strip()
