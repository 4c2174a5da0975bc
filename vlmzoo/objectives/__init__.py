"""Objectives: tensors in, one scalar and its metrics out; they hold no weights."""

from typing import Any, Protocol

from vlmzoo.outputs import Batch, LossOutput, VlmOutput
from vlmzoo.registry import Registry

__all__ = ["OBJECTIVES", "Objective"]


class Objective(Protocol):
    """Turns a model's outputs on one micro-batch into a loss."""

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: dict[str, float]) -> LossOutput:
        """Return this micro-batch's share of the loss of the whole step.

        Args:
            outputs: of the policy on ``batch.inputs``.
            batch: the micro-batch.
            denominators: totals over all micro-batches and ranks of the step, by name (``tokens``, ``sequences``,
                ``micro_batches``).
        """
        ...


OBJECTIVES: Registry[Any] = Registry("objective", "vlmzoo.objectives")
