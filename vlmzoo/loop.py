"""The training loop, once: it trains every system and knows the name of none."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from vlmzoo.distributed import sum_over_ranks
from vlmzoo.objectives import Objective
from vlmzoo.outputs import LossOutput, Step, VlmOutput

__all__ = ["Engine", "StepReport", "train"]


class Engine(Protocol):
    """A model that can be stepped: DeepSpeed's engine behind four names."""

    @property
    def device(self) -> torch.device:
        """Where batches must be."""
        ...

    def __call__(self, **inputs: Any) -> VlmOutput:
        """Run the model."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this micro-batch's share of the loss; gradients add up over ranks, not average."""
        ...

    def step(self) -> dict[str, float] | None:
        """Count a micro-batch; after the last one, update the weights and return ``lr`` and ``grad_norm``."""
        ...


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one optimisation step was like.

    Args:
        step: number, from 1.
        metrics: of the objective, summed over micro-batches and ranks; ``loss`` among them.
        optimisation: ``lr`` and ``grad_norm``.
        tokens: real tokens, visual ones included, over all ranks.
        targets: tokens that were learned, over all ranks.
        seconds: of this step, sampling and data included.
    """

    step: int
    metrics: dict[str, float]
    optimisation: dict[str, float] = field(default_factory=dict)
    tokens: float = 0.0
    targets: float = 0.0
    seconds: float = 0.0

    def record(self) -> dict[str, float]:
        """Return one line for the journal."""
        speed = self.tokens / self.seconds if self.seconds else 0.0
        return {
            "step": self.step,
            **self.metrics,
            **self.optimisation,
            "tokens": self.tokens,
            "targets": self.targets,
            "tokens_per_s": speed,
            "seconds": self.seconds,
        }


def train(
    engine: Engine,
    experience: Iterable[Step],
    objective: Objective,
    *,
    num_steps: int,
    reports: Sequence[Callable[[StepReport], None]] = (),
    first_step: int = 1,
) -> None:
    """Take optimisation steps, each over all micro-batches of one ``Step``.

    Args:
        engine: holds the policy.
        experience: gives the steps.
        objective: turns outputs into a loss.
        num_steps: of the whole run.
        reports: called after every step, in order.
        first_step: number of the first step to take, after a restart.
    """
    started = time.perf_counter()
    for number, step in enumerate(islice(experience, num_steps - first_step + 1), start=first_step):
        parts, updates, num_tokens = [], {}, 0.0
        for micro_batch in step.micro_batches:
            batch = micro_batch.to(engine.device)
            outputs = engine(**batch.inputs, return_logits=False)
            part = objective(outputs, batch, dict(step.denominators))
            engine.backward(part.loss)
            updates = engine.step() or updates
            parts.append(part)
            num_tokens += float(batch.inputs["attention_mask"].sum())
        finished = time.perf_counter()
        report = _report(number, parts, updates, num_tokens, step, finished - started)
        started = finished
        for tell in reports:
            tell(report)


def _report(
    number: int,
    parts: Sequence[LossOutput],
    updates: dict[str, float],
    num_tokens: float,
    step: Step,
    seconds: float,
) -> StepReport:
    sums = {name: sum(float(part.metrics[name]) for part in parts) for name in parts[0].metrics}
    totals = sum_over_ranks({**sums, "tokens": num_tokens})
    return StepReport(
        step=number,
        metrics={name: totals[name] for name in sums},
        optimisation=updates,
        tokens=totals["tokens"],
        targets=step.denominators.get("tokens", 0.0),
        seconds=seconds,
    )
