"""How likely a model finds each of several answers to one question, which is read once for all of them.

Letters: O options, T text positions of the prompt, L positions of the longest option.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant

__all__ = ["OptionScores", "option_ids", "option_losses", "option_nats", "score_options"]


class OptionScores(NamedTuple):
    """What a model thinks of O answers.

    Args:
        nats: ``(O,)``, the mean negative log-probability of each answer's ids, in nats and float32.
        is_greedy: ``(O,)``, whether the model would have said each answer by itself, id by id.
    """

    nats: Tensor
    is_greedy: Tensor


@torch.no_grad()
def option_losses(model: Any, sample: Sample, options: Sequence[str]) -> Tensor:
    """Return the mean negative log-probability of each option's tokens, end of sequence included, ``(O,)`` in nats.

    Source: V*, arXiv:2312.14135, section 5.1: the option with the least loss is the answer.

    Args:
        model: put into evaluation mode meanwhile.
        sample: ends with a user's turn.
        options: the answers.

    Raises:
        DataError: if there is no option, or the sample does not end with a question.
    """
    if not options:
        raise DataError("`options` must hold at least one answer, but is empty.")
    processor = model.processor
    encoded = processor.encode_prompt(sample)
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    batch = collate([encoded]).to(model.device)
    inputs = {name: value for name, value in batch.inputs.items() if name != "labels"}
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    was_training = model.training
    model.eval()
    try:
        return option_nats(model, inputs, [option_ids(processor, sample, option) for option in options])
    finally:
        model.train(was_training)


def option_ids(processor: Any, sample: Sample, option: str, *, with_adapters: bool = True) -> list[int]:
    """Return the ids that an assistant would say for an option, up to the end of its turn.

    Args:
        processor: of the model.
        sample: the question.
        option: the answer.
        with_adapters: False asks no adapter, where the ids alone count.
    """
    answered = Sample(messages=[*sample.messages, assistant(option)], images=sample.images, id=sample.id)
    length = len(processor.encode_prompt(sample, with_adapters=with_adapters)["input_ids"])
    return list(processor.encode(answered, with_adapters=with_adapters)["input_ids"][length:])


def option_nats(model: Any, inputs: Mapping[str, Any], options: Sequence[Sequence[int]]) -> Tensor:
    """Return the ``nats`` of `score_options`, ``(O,)``."""
    return score_options(model, inputs, options).nats


@torch.no_grad()
def score_options(model: Any, inputs: Mapping[str, Any], options: Sequence[Sequence[int]]) -> OptionScores:
    """Score options behind a prompt that is read once: its key-value cache is shared by all options.

    Args:
        model: in evaluation mode.
        inputs: of one prompt, as the model's forward takes them.
        options: ids of each, at least one.

    Returns:
        How likely each option is, and whether it is what the model would say.
    """
    read = model(**inputs, use_cache=True, logits_to_keep=1)
    first = read.logits[0, -1].float().log_softmax(dim=-1)  # predicts the first id of each option
    length = max(len(option) for option in options)
    device = first.device
    ids = torch.zeros(len(options), length, dtype=torch.long, device=device)
    keep = torch.zeros_like(ids)
    for row, option in enumerate(options):
        ids[row, : len(option)] = torch.tensor(list(option), device=device)
        keep[row, : len(option)] = 1
    nats = -first[ids[:, 0]].unsqueeze(1)
    best = first.argmax().expand(len(options), 1)
    if length > 1:
        cache = copy.deepcopy(read.cache)
        cache.batch_repeat_interleave(len(options))
        mask = inputs["attention_mask"].expand(len(options), -1)
        positions = _positions_behind(model, inputs, length - 1)
        outputs = model(
            input_ids=ids[:, :-1],
            attention_mask=torch.cat([mask, keep[:, :-1]], dim=1),
            position_ids=positions.expand(*positions.shape[:-2], len(options), -1),
            cache=cache,
            use_cache=True,
        )
        logprobs = outputs.logits.float().log_softmax(dim=-1)
        nats = torch.cat([nats, -logprobs.gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)], dim=1)
        best = torch.cat([best, logprobs.argmax(dim=-1)], dim=1)
    return OptionScores(
        nats=(nats * keep).sum(dim=1) / keep.sum(dim=1), is_greedy=((best == ids) | (keep == 0)).all(dim=1)
    )


def _positions_behind(model: Any, inputs: Mapping[str, Any], number: int) -> Tensor:
    """Return the positions of what follows a prompt: ``(1, number)``, or ``(3, 1, number)`` for positions in space."""
    mask, steps = inputs["attention_mask"], torch.arange(number, device=inputs["attention_mask"].device)
    inner: Any = getattr(model, "model", None)
    if hasattr(inner, "get_rope_index") and inputs.get("image_grid_thw") is not None:
        names = ("input_ids", "image_grid_thw", "attention_mask", "mm_token_type_ids")
        _, deltas = inner.get_rope_index(**{name: inputs[name] for name in names})
        start = mask.sum(dim=1, keepdim=True) + deltas.view(-1, 1).to(mask.device)
        return (start + steps).expand(3, 1, -1)
    return mask.sum(dim=1, keepdim=True) + steps
