"""Completions with what they earned, and the micro-batches that are made of them.

Letters: B sequences, G completions of one prompt, T text positions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.outputs import IGNORED_LABEL, Batch

__all__ = ["Trajectory", "batch_of", "leave_unjudged_out"]


@dataclass(kw_only=True)
class Trajectory:
    """One completion and all that its loss needs; plain numbers, so that it can be sent and saved.

    Args:
        place: of its prompt.
        number: among the completions of its prompt.
        ids: of the completion.
        logprobs: of each id when it was drawn.
        text: what rewards read.
        is_finished: whether it ended before the limit.
        reward: the weighted sum.
        values: of each reward, by name.
        group_rewards: of the whole group, its own among them.
        reference_logprobs: of each id under the reference; None without one.
    """

    place: int
    ids: list[int]
    logprobs: list[float]
    text: str
    is_finished: bool
    reward: float
    values: dict[str, float]
    group_rewards: list[float]
    reference_logprobs: list[float] | None = None
    number: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Trajectory":
        """Build one from what :meth:`to_dict` gave."""
        return cls(**values)


def leave_unjudged_out(group: Sequence[Trajectory]) -> None:
    """Give completions that no judge scored the mean of their siblings, so that their own advantage is 0.

    A group of which none has a score gets 0 for all, and teaches nothing.
    """
    rewards = _filled([one.reward for one in group])
    values = {name: _filled([one.values[name] for one in group]) for name in group[0].values}
    for place, one in enumerate(group):
        one.reward = rewards[place]
        one.values = {name: own[place] for name, own in values.items()}


def _filled(values: Sequence[float]) -> list[float]:
    known = [value for value in values if not math.isnan(value)]
    if len(known) == len(values):
        return known
    first = known[0] if known else 0.0
    mean = first + math.fsum(value - first for value in known) / max(1, len(known))  # exact where all are equal
    return [mean if math.isnan(value) else value for value in values]


def batch_of(
    trajectories: Sequence[Trajectory],
    prompts: Sequence[Mapping[str, Any]],
    *,
    collate: Collator,
    options: Mapping[str, Any],
) -> Batch:
    """Put B completions behind their prompts.

    Args:
        trajectories: B of them.
        prompts: encoded, one for each.
        collate: pads.
        options: further arguments of the model's forward.

    Returns:
        A batch whose labels are the completions, and whose targets are what the policy gradient wants.
    """
    batch = collate([_row(prompt, one.ids) for prompt, one in zip(prompts, trajectories, strict=True)])
    starts = [len(prompt["input_ids"]) for prompt in prompts]
    shape = batch.inputs["labels"].shape
    width = max(len(one.group_rewards) for one in trajectories)
    rows = [one.group_rewards + [float("nan")] * (width - len(one.group_rewards)) for one in trajectories]
    targets: dict[str, Any] = {
        "rewards": torch.tensor([one.reward for one in trajectories], dtype=torch.float32),
        "group_rewards": torch.tensor(rows, dtype=torch.float32),
        "completions": torch.tensor([[one.place, one.number] for one in trajectories]),
        "behaviour_logprobs": _placed([one.logprobs for one in trajectories], starts, shape),
    }
    if all(one.reference_logprobs is not None for one in trajectories):
        known = [one.reference_logprobs or [] for one in trajectories]
        targets["reference_logprobs"] = _placed(known, starts, shape)
    return Batch(inputs={**batch.inputs, **options}, targets={**batch.targets, **targets}, counts=batch.counts)


def _row(prompt: Mapping[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    row = {
        **prompt,
        "input_ids": [*prompt["input_ids"], *ids],
        "labels": [IGNORED_LABEL] * len(prompt["input_ids"]) + list(ids),
    }
    if "mm_token_type_ids" in prompt:
        row["mm_token_type_ids"] = [*prompt["mm_token_type_ids"], *[0] * len(ids)]
    return row


def _placed(rows: Sequence[Sequence[float]], starts: Sequence[int], shape: torch.Size) -> Tensor:
    """Put numbers of completions where their tokens stand, ``(B, T)``."""
    placed = torch.zeros(shape, dtype=torch.float32)
    for line, row, start in zip(placed, rows, starts, strict=True):
        line[start : start + len(row)] = torch.tensor(row, dtype=torch.float32)
    return placed
