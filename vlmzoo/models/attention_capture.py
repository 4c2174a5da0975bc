"""What one layer looks at while a model generates: the last query's row of each step, and nothing else.

transformers' ``output_attentions`` keeps the whole matrix of every layer and needs eager attention everywhere; here the
attention that runs anyway goes on, and one layer computes one row more. T steps over L positions take ``T (L + T)``
numbers a sequence, whatever the number of layers.

Letters: B sequences, H heads, T decoding steps, L tokens of the prompt.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vlmzoo.errors import ConfigError, ShapeError

__all__ = ["AttentionRecord", "capture_attention"]

_PREFIX = "vlmzoo_watched_"
_RECORD = "_vlmzoo_attention_record"


@dataclass
class AttentionRecord:
    """What was looked at, averaged over heads.

    Args:
        layer: the decoder layer, from 0.
        prompt: ``(B, L)``: what the prompt's last token looked at, i.e. the query that produced the first token.
        steps: ``(B, L + t)`` for step t = 1, 2, …: what generated token t looked at.
    """

    layer: int
    prompt: Tensor | None = None
    steps: list[Tensor] = field(default_factory=list[Tensor])

    def step_attention(self, row: int, *, num_tokens: int | None = None, include_prompt: bool = False) -> Tensor:
        """Return the steps of one sequence, ``(T, L + T)`` in float32; what comes after a step's own position is 0.

        Args:
            row: of the batch.
            num_tokens: of the completion; the last one is never looked from, so there is one step less. None takes all.
            include_prompt: whether the row of the prompt's own pass comes first; an answer of one token has only that.

        Raises:
            ShapeError: if nothing was generated while the record was kept.
        """
        if self.prompt is None:
            raise ShapeError("There is no attention to read; call `model.generate(…)` inside `capture_attention`.")
        count = len(self.steps) if num_tokens is None else min(max(num_tokens - 1, 0), len(self.steps))
        rows = [self.prompt[row]] if include_prompt else []
        rows += [step[row] for step in self.steps[:count]]
        width = max((len(looked) for looked in rows), default=self.prompt.shape[1])
        padded = torch.zeros(len(rows), width)
        for line, looked in zip(padded, rows, strict=True):
            line[: len(looked)] = looked.float().cpu()
        return padded

    def _note(self, looked: Tensor, *, is_prompt: bool) -> None:
        if is_prompt:
            self.prompt, self.steps = looked, []
        else:
            self.steps.append(looked)


@contextmanager
def capture_attention(model: Any, *, layer: int | None = None) -> Iterator[AttentionRecord]:
    """Keep what one layer looks at during ``model.generate(…)``.

    Source: MIA-DPO, arXiv:2410.17637, section 3.2, takes layer 16 of 32, counting from 0.

    Args:
        model: any base, generating with a key-value cache.
        layer: from 0; None takes the middle one.

    Yields:
        A record, which the next generation inside the block begins anew.

    Raises:
        ConfigError: if there is no such layer, or its attention cannot be watched.
    """
    config = model.config.get_text_config(decoder=True)
    chosen: int = config.num_hidden_layers // 2 if layer is None else layer
    watched = _attention_of(model.get_decoder(), chosen)
    configs = {id(module.config): module.config for module in _attentions(model.get_decoder())}
    before = {key: one._attn_implementation for key, one in configs.items()}
    record = AttentionRecord(layer=chosen)
    setattr(watched, _RECORD, record)
    for key, one in configs.items():
        one._attn_implementation = _watching(before[key])
    try:
        yield record
    finally:
        delattr(watched, _RECORD)
        for key, one in configs.items():
            one._attn_implementation = before[key]


def _attentions(decoder: nn.Module) -> list[Any]:
    return [module for module in decoder.modules() if hasattr(module, "layer_idx") and hasattr(module, "scaling")]


def _attention_of(decoder: nn.Module, layer: int) -> nn.Module:
    """Return the attention of a layer.

    Raises:
        ConfigError: if there is none.
    """
    found = {int(module.layer_idx): module for module in _attentions(decoder)}
    if layer not in found:
        raise ConfigError(
            f"`layer` must be an attention layer of the language model, one of {sorted(found)}, but is {layer} instead."
        )
    return found[layer]


def _watching(implementation: str) -> str:
    """Return the name of an attention that does what another does, and lets one layer be watched."""
    if implementation.startswith(_PREFIX):
        return implementation
    if "flash" in implementation or "flex" in implementation or "paged" in implementation:
        raise ConfigError(
            f"`attn_implementation` must be sdpa or eager for attention to be watched, but is {implementation}; "
            'load the model with `attn_implementation="sdpa"`.'
        )
    name = _PREFIX + implementation
    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, _watched(implementation))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[implementation])
    return name


def _watched(implementation: str) -> Callable[..., tuple[Tensor, Tensor | None]]:
    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        run = _eager_of(module) if implementation == "eager" else ALL_ATTENTION_FUNCTIONS[implementation]
        record: AttentionRecord | None = getattr(module, _RECORD, None)
        if record is not None:
            looked = _last_row(query, key, attention_mask, scaling=kwargs.get("scaling"))
            record._note(looked, is_prompt=query.shape[2] == key.shape[2])
        return run(module, query, key, value, attention_mask, **kwargs)

    return attend


def _eager_of(module: Any) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """Return the eager attention that stands beside a module's class."""
    for kind in type(module).__mro__:
        found = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if found is not None:
            return found
    raise ConfigError(f"{type(module).__name__} has no eager attention of its own; load the model with sdpa.")


@torch.no_grad()
def _last_row(query: Tensor, key: Tensor, mask: Tensor | None, *, scaling: float | None) -> Tensor:
    """Return what the last query looks at, averaged over heads: ``(B, H, ·, d)`` and ``(B, G, S, d)`` to ``(B, S)``."""
    batch, heads, _, width = query.shape
    groups, length = key.shape[1], key.shape[2]
    last = query[:, :, -1].reshape(batch, groups, heads // groups, width)  # heads share the keys of their group
    scores = torch.einsum("bghd,bgsd->bghs", last, key).float() * (width**-0.5 if scaling is None else scaling)
    if mask is not None:
        row = mask[:, :, -1:, :length]  # (B, 1, 1, S)
        scores = scores.masked_fill(~row, float("-inf")) if row.dtype == torch.bool else scores + row.float()
    return scores.softmax(dim=-1).mean(dim=(1, 2))
