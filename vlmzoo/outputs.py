"""Values that cross layers and hold tensors: what models return, what objectives take and give.

Letters: B sequences, T text positions, V vocabulary, N visual tokens, D width of a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.utils import ModelOutput

__all__ = ["IGNORED_LABEL", "IGNORED_PIXEL", "Batch", "LossOutput", "Step", "VlmOutput"]

IGNORED_LABEL = -100
"""The label of a position that is not a target, the field's convention."""

IGNORED_PIXEL = 255
"""The target of a pixel that nobody judged, the field's convention."""


@dataclass
class VlmOutput(ModelOutput):
    """What a vision-language model returns; a dictionary, so that ZeRO-3's hooks can walk it.

    Args:
        loss: ``()``, mean negative log-probability of the targets; only if ``labels`` were given.
        logits: ``(B, T, V)``; absent when only ``logprobs`` were asked for.
        logprobs: ``(B, T)`` in float32, nats: at t the log-probability of ``labels[:, t]`` given all before it;
            0 at positions that are not targets. Only if ``labels`` were given.
        entropy: ``(B, T)`` in float32, nats: at t the entropy of what is predicted there, on request; 0 at positions
            that are not targets.
        cache: the key-value cache, when in use.
        hidden_states: one ``(B, T, D)`` per layer, on request.
        attentions: one ``(B, heads, T, T)`` per layer, on request.
        image_features: ``(images, N, D)``, projected, on request.
        adapters: what each adapter made, by its label and by name; None where none was triggered.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    logprobs: Tensor | None = None
    entropy: Tensor | None = None
    cache: Any = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    image_features: Tensor | None = None
    adapters: dict[str, dict[str, Tensor]] | None = None


@dataclass(frozen=True)
class LossOutput:
    """A scalar to descend and what to report beside it.

    Args:
        loss: ``()``, this micro-batch's share of the step's loss.
        metrics: detached scalars that add up over micro-batches and ranks.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """One micro-batch.

    Args:
        inputs: keyword arguments of the model's forward, ``labels`` ``(B, T)`` among them.
        targets: what objectives compare outputs with and the model does not see.
        counts: further denominators, under the same names in every batch and on every rank.
    """

    inputs: Mapping[str, Any]
    targets: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch with its tensors on ``device``."""
        return Batch(inputs=_moved(self.inputs, device), targets=_moved(self.targets, device), counts=self.counts)

    @property
    def num_tokens(self) -> int:
        """Real tokens, visual ones included; a packed batch has no gaps, and no mask."""
        mask = self.inputs.get("attention_mask")
        return int(self.inputs["input_ids"].numel() if mask is None else mask.sum())

    def count(self) -> dict[str, float]:
        """Return this micro-batch's share of the step's denominators."""
        labels = self.inputs["labels"]
        is_target = labels[:, 1:] != IGNORED_LABEL  # the first position has nothing before it
        own = {"tokens": float(is_target.sum()), "sequences": float(labels.shape[0]), "micro_batches": 1.0}
        return {**own, **self.counts}


@dataclass(frozen=True)
class Step:
    """All that one optimisation step learns from, on this rank.

    Args:
        micro_batches: of equal number on all ranks.
        denominators: totals over all micro-batches and ranks, so that the gradient does not depend on the split.
        notes: what the journal tells of the data on this rank, e.g. rows passed over so far.
    """

    micro_batches: Sequence[Batch]
    denominators: Mapping[str, float]
    notes: Mapping[str, float] = field(default_factory=dict)


def _moved(values: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
