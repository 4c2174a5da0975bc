"""What a batch of rollouts tells: rewards, lengths, agreement, and how often something went wrong."""

import math
from collections.abc import Mapping, Sequence

from vlmzoo.experience._trajectories import Trajectory

__all__ = ["notes_of"]


def notes_of(
    groups: Sequence[Sequence[Trajectory]],
    drawn: Sequence[Sequence[Trajectory]],
    faults: Mapping[str, int],
    weights: Mapping[str, float],
) -> dict[str, float]:
    """Return the notes of a batch, equal on all ranks.

    Args:
        groups: that are learned from.
        drawn: all that were drawn for them; rewards and fractions are of these, so that resampling hides nothing.
        faults: of rewards, by kind and name.
        weights: of rewards, by name.

    Returns:
        ``reward`` and ``reward_std`` (within groups, on average), ``rewards/NAME``, ``completion_tokens``, and as
        fractions ``unfinished`` of completions, ``zero_variance`` of groups, ``unique_completions`` of each group;
        ``prompts_drawn``; ``reward_faults``, and ``reward_KIND/NAME`` for those that happened.
    """
    all_drawn = [trajectory for group in drawn for trajectory in group]
    notes = {
        "reward": _mean([trajectory.reward for trajectory in all_drawn]),
        "reward_std": _mean([_deviation([trajectory.reward for trajectory in group]) for group in drawn]),
        "completion_tokens": _mean([len(trajectory.ids) for trajectory in all_drawn]),
        "unfinished": _mean([not trajectory.is_finished for trajectory in all_drawn]),
        "zero_variance": _mean([len({trajectory.reward for trajectory in group}) == 1 for group in drawn]),
        "unique_completions": _mean([len({tuple(one.ids) for one in group}) / len(group) for group in drawn]),
        "prompts_drawn": float(len(drawn)),
    }
    notes |= {f"rewards/{name}": _mean([trajectory.values[name] for trajectory in all_drawn]) for name in weights}
    notes["reward_faults"] = float(sum(faults.values()))
    return notes | {f"reward_{fault}": float(num) for fault, num in faults.items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Return the unbiased standard deviation."""
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
