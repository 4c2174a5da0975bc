"""Drawing tokens from logits, with numbers that belong to the completion and not to the batch.

Letters: N completions that are being written, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vlmzoo.services.rollout import Sampling

__all__ = ["draw_tokens", "uniforms"]


def uniforms(seeds: Sequence[int], num: int) -> Tensor:
    """Return numbers in [0, 1), ``(N, num)`` in float64: a row is a function of its seed alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(num) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def draw_tokens(logits: Tensor, numbers: Tensor, sampling: Sampling, excluded: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token for each completion.

    Args:
        logits: ``(N, V)``.
        numbers: ``(N,)``, uniform in [0, 1).
        sampling: how to draw.
        excluded: ``(V,)``, True where a token may not be said.

    Returns:
        Ids ``(N,)`` and their log-probabilities ``(N,)`` over the whole vocabulary at the sampling temperature, as
        training computes them.
    """
    scaled = logits.float() / (sampling.temperature or 1.0)
    logprobs = scaled.log_softmax(dim=-1)
    allowed = scaled.masked_fill(excluded, -torch.inf)
    if sampling.temperature == 0:
        ids = allowed.argmax(dim=-1)
    else:
        ids = _inverted(_kept(allowed, sampling).softmax(dim=-1), numbers)
    return ids, logprobs.gather(1, ids.unsqueeze(1)).squeeze(1)


def _kept(logits: Tensor, sampling: Sampling) -> Tensor:
    """Leave the most probable tokens, by number and by mass."""
    if 0 < sampling.top_k < logits.shape[1]:
        floor = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        mass_before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        dropped = (mass_before >= sampling.top_p).scatter(1, order, mass_before >= sampling.top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return logits


def _inverted(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """Return where the running sum of ``(N, V)`` passes the numbers ``(N,)``."""
    running = probabilities.double().cumsum(dim=-1)
    sought = (numbers.to(running) * running[:, -1]).unsqueeze(1)
    ids = torch.searchsorted(running, sought, right=True).squeeze(1).clamp(max=probabilities.shape[1] - 1)
    is_possible = probabilities.gather(1, ids.unsqueeze(1)).squeeze(1) > 0  # rounding at the very end may miss
    return torch.where(is_possible, ids, probabilities.argmax(dim=-1))
