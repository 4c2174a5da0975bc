"""What training for one skill does to the rest: how far a model has moved from the one it began as.

Source: what TWIN, arXiv:2512.23592, claims (no loss on general questions) and its evaluation does not measure.
Letters: B samples, T text positions, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.generation import complete
from vlmzoo.outputs import IGNORED_LABEL, Batch
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample, assistant

__all__ = ["token_divergence"]


@torch.no_grad()
def token_divergence(
    model: Any, base: Any, samples: Sequence[Sample], *, max_new_tokens: int = 128, batch_size: int = 8
) -> Interval:
    """Return the divergence of a model from its base in nats a token, over what the base says to generic prompts.

    The whole distributions are compared at every token, KL(base ‖ model), and averaged over each answer; the interval
    is over prompts. A model compared with itself has 0.

    Args:
        model: after training.
        base: before; with the same vocabulary. Both are put into evaluation mode meanwhile.
        samples: prompts of another kind than training; a final assistant turn is taken off.
        max_new_tokens: of each answer of the base.
        batch_size: prompts at once.

    Raises:
        ConfigError: if the two have other vocabularies.
        DataError: if there are no prompts.
    """
    if not samples:
        raise DataError("`samples` must hold at least one prompt, but is empty.")
    sizes = [int(one.config.get_text_config().vocab_size) for one in (model, base)]
    if sizes[0] != sizes[1]:
        raise ConfigError(f"`model` and `base` must have one vocabulary, but have {sizes[0]} and {sizes[1]} tokens.")
    found: list[float] = []
    for start in range(0, len(samples), batch_size):
        asked = [prompt_of(sample) for sample in samples[start : start + batch_size]]
        answers = complete(base, base.processor, asked, max_new_tokens=max_new_tokens)
        told = [replace(s, messages=[*s.messages, assistant(a.text)]) for s, a in zip(asked, answers, strict=True)]
        processor = base.processor
        collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
        found += _divergences(model, base, collate([processor.encode(sample) for sample in told]))
    return bootstrap_interval(found)


def _divergences(model: Any, base: Any, batch: Batch) -> list[float]:
    mask = batch.inputs["labels"][:, 1:] != IGNORED_LABEL  # the first position has nothing before it
    of_base, of_model = (_log_probabilities(one, batch)[:, :-1] for one in (base, model))
    nats = (of_base.exp() * (of_base - of_model)).sum(dim=-1)  # (B, T - 1)
    return (torch.where(mask, nats, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).tolist()


def _log_probabilities(model: Any, batch: Batch) -> Tensor:
    """Return ``(B, T, V)`` in float32 on the CPU."""
    inputs = {name: value for name, value in batch.to(model.device).inputs.items() if name != "labels"}
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    was_training = model.training
    model.eval()
    try:
        return model(**inputs).logits.float().log_softmax(dim=-1).cpu()
    finally:
        model.train(was_training)
