"""What a policy gradient did with each completion, in numbers that a person can read.

Letters: B completions in a micro-batch, T text positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmzoo.objectives.divergence import kl_per_token
from vlmzoo.objectives.policy_gradient import PolicyGradientObjective, target_mask
from vlmzoo.outputs import Batch, VlmOutput

__all__ = ["Explained", "explain"]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One micro-batch, completion by completion; ``(B,)`` each.

    Args:
        advantages: in standard deviations of the group, or as the estimator says.
        gap_nats: mean difference of log-probabilities between rollout and training, without its sign.
        clip_fraction: share of tokens where a limit decided, as the objective counts them.
        kl_nats: mean divergence from the reference; None without one.
    """

    advantages: Tensor
    gap_nats: Tensor
    clip_fraction: Tensor
    kl_nats: Tensor | None


@torch.no_grad()
def explain(objective: PolicyGradientObjective, outputs: VlmOutput, batch: Batch) -> Explained:
    """Tell of each completion what the objective sees.

    Args:
        objective: whose estimator and limits are used.
        outputs: with ``logprobs`` ``(B, T)``.
        batch: with labels, rewards, and log-probabilities of behaviour and, if there is one, of the reference.
    """
    mask = target_mask(batch)
    assert outputs.logprobs is not None
    logprobs = outputs.logprobs.detach().float()
    gap = torch.where(mask, logprobs - batch.targets["behaviour_logprobs"], 0.0)
    advantages = objective.advantages(batch)
    _, told = objective.surrogate_losses(objective.log_ratio(logprobs, batch), logprobs, advantages)
    reference = batch.targets.get("reference_logprobs")
    kl = None
    if reference is not None:
        known = torch.where(mask, reference, logprobs)
        kl = _mean(kl_per_token(logprobs, known, estimator="k3", log_ratio_limit=objective.log_ratio_limit), mask)
    return Explained(
        advantages=advantages,
        gap_nats=_mean(gap.abs(), mask),
        clip_fraction=_mean(told["clip_fraction"], mask),
        kl_nats=kl,
    )


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over each completion's own tokens, ``(B, T)`` to ``(B,)``."""
    return torch.where(mask, values, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
