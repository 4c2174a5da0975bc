"""Several objectives at once, each with a weight."""

from collections.abc import Mapping
from typing import Any

import torch

from vlmzoo.errors import ConfigError
from vlmzoo.objectives import OBJECTIVES, Objective
from vlmzoo.outputs import Batch, LossOutput, VlmOutput

__all__ = ["WeightedSumObjective", "terms_of"]


@OBJECTIVES.register(
    "weighted_sum",
    source="e.g. LISA, arXiv:2308.00692, equation 3: text and mask losses side by side",
    tiny={"terms": {"text": {"type": "next_token"}}},
)
class WeightedSumObjective:
    """The sum of terms, each an objective of its own.

    Args:
        terms: by name, ``{type: …, weight: 1.0, …}`` for the objective registry.

    Raises:
        ConfigError: if there is no term, or a weight is no number.
    """

    def __init__(self, *, terms: Mapping[str, Mapping[str, Any]]) -> None:
        if not terms:
            raise ConfigError("`terms` of a weighted sum must hold at least one objective, but is empty.")
        self.weights: dict[str, float] = {}
        self.terms: dict[str, Objective] = {}
        for name, spec in terms.items():
            weight = spec.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, (int, float)):
                raise ConfigError(f"`terms.{name}.weight` must be a number, but is {weight!r} instead.")
            self.weights[name] = float(weight)
            self.terms[name] = OBJECTIVES.build({key: value for key, value in spec.items() if key != "weight"})

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: dict[str, float]) -> LossOutput:
        """Compute this micro-batch's share of the loss.

        Args:
            outputs: what the model returned.
            batch: what it was given.
            denominators: totals of the whole step.

        Returns:
            The weighted sum; metrics are named after their term, ``text/loss``, and ``loss`` is the sum itself.
        """
        parts = {name: term(outputs, batch, denominators) for name, term in self.terms.items()}
        total = torch.stack([self.weights[name] * part.loss for name, part in parts.items()]).sum()
        metrics = {f"{name}/{key}": value for name, part in parts.items() for key, value in part.metrics.items()}
        return LossOutput(loss=total, metrics={"loss": total.detach(), **metrics})


def terms_of(objective: Any, *, where: str = "objective") -> dict[str, Any]:
    """Return the objectives that a loss is made of, each by the path under which a config names it.

    Args:
        objective: a sum, whose terms may be sums again, or any other, which is its own only term.
        where: path of the objective itself.
    """
    if not isinstance(objective, WeightedSumObjective):
        return {where: objective}
    found: dict[str, Any] = {}
    for name, term in objective.terms.items():
        found |= terms_of(term, where=f"{where}.terms.{name}")
    return found
