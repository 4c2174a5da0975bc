"""The rows of a batch of preferences with their log-probabilities, found by role.

Letters: B rows, P pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmzoo.errors import ShapeError
from vlmzoo.outputs import IGNORED_LABEL, Batch, VlmOutput

__all__ = ["ScoredRows"]


@dataclass(frozen=True)
class ScoredRows:
    """Log-probabilities summed over each row's targets, all ``(B,)``, in nats.

    Args:
        sums: under the policy.
        reference: under the reference; None without one.
        lengths: targets of each row.
        places: rows of each role, ``(P,)``.
        averages: whether :meth:`policy` and :meth:`ratio` divide by the lengths.
        pair_weights: of each pair's terms, ``(P,)``; 0 for one that only keeps ranks in step.
        image_weights: of each pair's image terms, ``(P,)``; 0 for one whose texts alone are compared.
    """

    sums: Tensor
    reference: Tensor | None
    lengths: Tensor
    places: Mapping[str, Tensor]
    averages: bool
    pair_weights: Tensor
    image_weights: Tensor

    @classmethod
    def of(cls, outputs: VlmOutput, batch: Batch, *, averages: bool) -> "ScoredRows":
        """Add up what a model returned for a batch.

        Raises:
            ShapeError: if ``logprobs`` or ``reference_logprobs`` do not fit the rows, or a row that takes part has no
                target.
        """
        labels = batch.inputs["labels"]
        if outputs.logprobs is None or outputs.logprobs.shape != labels.shape:
            found = None if outputs.logprobs is None else tuple(outputs.logprobs.shape)
            raise ShapeError(f"`logprobs` must have the shape of `labels`, {tuple(labels.shape)}, but has {found}.")
        lengths = (labels[:, 1:] != IGNORED_LABEL).sum(dim=1)
        given = batch.targets.get("rows", {})
        places = {role: torch.as_tensor(rows, device=labels.device) for role, rows in given.items()}
        used = torch.cat(list(places.values())) if places else lengths.new_zeros(0)
        if bool((lengths[used] == 0).any()):
            empty = sorted({int(place) for place in used[lengths[used] == 0]})
            raise ShapeError(
                f"Every row of a preference must have a target, but rows {empty} have none: their answers are empty, "
                "or all their tokens are masked. Leave such pairs out."
            )
        sums = outputs.logprobs.sum(dim=1)
        reference = batch.targets.get("reference_logprobs")
        if reference is not None:
            if reference.shape != lengths.shape:
                raise ShapeError(
                    f"`reference_logprobs` must have one sum for each of the {lengths.shape[0]} rows, but has shape "
                    f"{tuple(reference.shape)} instead."
                )
            reference = reference.to(sums)
        num_pairs = max((len(rows) for rows in places.values()), default=0)
        weights = [
            torch.ones_like(sums[:1]).expand(num_pairs) if found is None else torch.as_tensor(found).to(sums)
            for found in (batch.targets.get("pair_weights"), batch.targets.get("image_weights"))
        ]
        return cls(
            sums=sums,
            reference=reference,
            lengths=lengths,
            places=places,
            averages=averages,
            pair_weights=weights[0],
            image_weights=weights[1],
        )

    def policy(self, role: str) -> Tensor:
        """Return the policy's log-probabilities of the rows of a role, ``(P,)``."""
        rows = self.places[role]
        return self.sums[rows] / self.lengths[rows] if self.averages else self.sums[rows]

    def ratio(self, role: str) -> Tensor:
        """Return the log-ratios of the rows of a role, ``(P,)``.

        Raises:
            ShapeError: if there is no reference.
        """
        if self.reference is None:
            raise ShapeError(
                "The batch must have `reference_logprobs`, but has none; give the experience a `reference`, or set "
                "`reference_free: true` in the objective, without anchors."
            )
        rows = self.places[role]
        differences = self.sums[rows] - self.reference[rows]
        return differences / self.lengths[rows] if self.averages else differences
