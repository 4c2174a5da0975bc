"""Advantages of completions over their siblings: the group-relative baseline of GRPO and its variants.

Letters: P prompts, G completions of one prompt, B completions in a micro-batch.
"""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.registry import nearest_hint

__all__ = ["AdvantageEstimator", "SingletonRule", "advantages_over_siblings", "check_estimator", "group_advantages"]

AdvantageEstimator: TypeAlias = Literal["mean_std", "mean_std_floored", "mean", "leave_one_out"]
"""``mean_std``: DeepSeekMath, arXiv:2402.03300, section 4.1.2. ``mean_std_floored``: the same with the variance kept
above 1e-6, verl's vectorised form. ``mean``: Dr. GRPO, arXiv:2503.20783, section 3.2. ``leave_one_out``: the mean of
the others as baseline, RLOO, arXiv:2402.14740, section 3.2."""

SingletonRule: TypeAlias = Literal["refuse", "own_reward"]
"""What a completion without siblings gets: an error, or its reward as verl gives it (mean 0, deviation 1)."""

_VARIANCE_FLOOR = 1e-6


def group_advantages(
    rewards: Tensor,
    *,
    estimator: AdvantageEstimator = "mean_std",
    eps: float = 1e-4,
    singleton: SingletonRule = "refuse",
) -> Tensor:
    """Score each completion of whole groups against its siblings.

    For looking at groups that lie together, and for the goldens; a run scores completion by completion, with
    :func:`advantages_over_siblings`, since its groups may lie on several ranks.

    Args:
        rewards: ``(P, G)``; NaN where a group has fewer than G completions.
        estimator: baseline and scale.
        eps: added to the standard deviation, in units of reward.
        singleton: what a group of one gets.

    Returns:
        ``(P, G)``; exactly zero where a row's rewards are equal.

    Raises:
        ShapeError: if a group has a single completion and ``singleton`` refuses.
    """
    num_prompts, num_rollouts = rewards.shape
    siblings = rewards.repeat_interleave(num_rollouts, dim=0)
    found = advantages_over_siblings(rewards.reshape(-1), siblings, estimator=estimator, eps=eps, singleton=singleton)
    return found.reshape(num_prompts, num_rollouts)


def advantages_over_siblings(
    rewards: Tensor,
    group_rewards: Tensor,
    *,
    estimator: AdvantageEstimator = "mean_std",
    eps: float = 1e-4,
    singleton: SingletonRule = "refuse",
) -> Tensor:
    """Score completions that each carry the rewards of their whole group, which may lie on other ranks.

    Everything is measured from the completion's own reward, so that equal rewards cancel to the last bit: a rounded
    mean would leak through ``1 / eps`` (0.18 at the eps of 1e-6 that verl uses).

    Args:
        rewards: ``(B,)``.
        group_rewards: ``(B, G)``, the completion's own among them; NaN where a group is smaller.
        estimator: baseline and scale.
        eps: added to the standard deviation, in units of reward.
        singleton: what a completion without siblings gets.

    Returns:
        ``(B,)``.

    Raises:
        ShapeError: if a completion has no siblings and ``singleton`` refuses.
    """
    is_member = ~group_rewards.isnan()
    num_members = is_member.sum(dim=1)  # (B,)
    is_single = (num_members < 2) & ~rewards.isnan()
    if singleton == "refuse" and bool(is_single.any()):
        raise ShapeError(
            "Each prompt must have at least 2 completions, which are compared with one another, but one has a single "
            "completion instead; raise `num_rollouts`."
        )
    relative = torch.where(is_member, group_rewards - rewards.unsqueeze(1), 0.0)  # (B, G)
    counts = num_members.clamp(min=1)
    if estimator == "leave_one_out":
        found = -relative.sum(dim=1) / (counts - 1).clamp(min=1)
        return torch.where(is_single, rewards, found)
    centre = relative.sum(dim=1) / counts  # of the siblings, as seen from this completion
    if estimator == "mean":
        return torch.where(is_single, rewards, -centre)
    squares = torch.where(is_member, (relative - centre.unsqueeze(1)) ** 2, 0.0)
    variance = squares.sum(dim=1) / (counts - 1).clamp(min=1)
    if estimator == "mean_std_floored":
        variance = variance.clamp(min=_VARIANCE_FLOOR)
    scored = torch.where(variance > 0, -centre / (variance.sqrt() + eps), 0.0)  # nothing to learn, were eps 0, too
    return torch.where(is_single, rewards / (1.0 + eps), scored)


def check_estimator(estimator: str, singleton: str) -> None:
    """Check two options of an objective.

    Raises:
        ConfigError: if one of them is unknown.
    """
    for name, value, known in (
        ("estimator", estimator, get_args(AdvantageEstimator)),
        ("singleton", singleton, get_args(SingletonRule)),
    ):
        if value not in known:
            raise ConfigError(
                f"`{name}` must be one of {', '.join(known)}, but is {value!r} instead.{nearest_hint(value, known)}"
            )
