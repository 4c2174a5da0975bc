"""What an evaluation harness needs of a model: loading it, and asking it several questions at once.

Letters: B questions, T text positions.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

import vlmzoo
from vlmzoo.data.prompting import awaited_ids, end_ids, prompt_inputs, sampling_exclusions, until_end
from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample

__all__ = ["Decoding", "Said", "answer", "load_for_harness"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How tokens are chosen; nothing of it is left to a model's own generation settings.

    Args:
        max_new_tokens: the limit of an answer.
        temperature: 0 takes the most probable token.
        top_p: tokens are drawn from the smallest set of this probability; 1 for all.
        top_k: tokens are drawn from so many; 0 for all.
        num_beams: 1 for none.
        repetition_penalty: None leaves the one of the model's generation settings, which belongs to its weights.
        stop: an answer ends before the first of these texts.

    Raises:
        ConfigError: if a value is out of range.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    num_beams: int = 1
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value, is_right, rule in (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "at least 1"),
            ("temperature", self.temperature, self.temperature >= 0, "0 or more"),
            ("top_p", self.top_p, self.temperature == 0 or 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("num_beams", self.num_beams, self.num_beams >= 1, "at least 1"),
        ):
            if not is_right:
                raise ConfigError(f"`{name}` must be {rule}, but is {value} instead.")

    def arguments(self) -> dict[str, Any]:
        """Return what ``generate`` takes."""
        drawn = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k} if self.temperature else {}
        penalty = {} if self.repetition_penalty is None else {"repetition_penalty": self.repetition_penalty}
        return {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": bool(self.temperature),
            "num_beams": self.num_beams,
            **drawn,
            **penalty,
        }


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer.

    Args:
        text: without special tokens, up to the first stop text.
        num_prompt_tokens: without padding, with the visual tokens.
        num_completion_tokens: up to the end of sequence, and with it.
    """

    text: str
    num_prompt_tokens: int
    num_completion_tokens: int


def load_for_harness(
    *,
    path: str | None,
    name: str | None,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    attn_implementation: str | None = None,
) -> tuple[Any, Any]:
    """Load a model by the public face, as any program would.

    Args:
        path: a folder or a Hub id; one of ``path`` and ``name`` is given.
        name: a card of the zoo, with its published weights.
        revision: branch, tag or commit on the Hub.
        device: None takes an accelerator if there is one; of several processes each takes its own.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        attn_implementation: attention by name; None lets transformers choose.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        ConfigError: if not exactly one of ``path`` and ``name`` is given.
        CheckpointError: if the model cannot be loaded whole.
    """
    if (path is None) == (name is None):
        raise ConfigError(
            f"Give one of `pretrained` (a folder or Hub id) and `name` (a card), not {path!r} and {name!r}."
        )
    device = _device_of(device)
    if path is not None:
        return vlmzoo.load_model(
            path, revision=revision, device=device, dtype=dtype, attn_implementation=attn_implementation
        )
    if revision is not None:
        raise ConfigError(
            f"`revision` must go with `pretrained`, but is {revision!r} beside `name`, whose card has one."
        )
    model = vlmzoo.build_model(
        str(name), pretrained=True, device=device, dtype=dtype, attn_implementation=attn_implementation
    )
    return model.eval(), model.processor


@torch.no_grad()
def answer(model: Any, processor: Any, samples: Sequence[Sample], decoding: Decoding) -> list[Said]:
    """Answer B questions at once; greedily it says what ``vlmzoo.evaluation.complete`` says.

    Args:
        model: in evaluation mode.
        processor: of the model.
        samples: B, each ending with a user's turn.
        decoding: of all of them.

    Returns:
        B answers, in the order of the samples.

    Raises:
        DataError: if a sample cannot be asked.
    """
    inputs = prompt_inputs(processor, samples, device=model.device, dtype=model.dtype)
    ends = end_ids(model, processor)
    excluded = sampling_exclusions(processor, keep={*ends, *awaited_ids(model, processor)})
    suppressed = {"suppress_tokens": excluded} if excluded else {}
    ids = model.generate(**inputs, **suppressed, **decoding.arguments())
    rows = [until_end(row, ends) for row in ids[:, inputs["input_ids"].shape[1] :].tolist()]
    texts = processor.batch_decode(rows, skip_special_tokens=True)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return [
        Said(text=_until_stop(text, decoding.stop), num_prompt_tokens=length, num_completion_tokens=len(row))
        for text, length, row in zip(texts, lengths, rows, strict=True)
    ]


def _device_of(device: str | None) -> str:
    """Return a device: of several processes on one machine (``LOCAL_RANK``) each has an accelerator of its own."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


def _until_stop(text: str, stops: Sequence[str]) -> str:
    """Return a text up to the first place where one of the stop texts begins."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
