"""The training loop, once: it trains every system and knows the name of none."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from vlmzoo.distributed import sum_over_ranks
from vlmzoo.errors import MemoryLimitError
from vlmzoo.objectives import Objective
from vlmzoo.outputs import Batch, LossOutput, Step, VlmOutput

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
    is_over: Callable[[StepReport], bool] = lambda report: False,
) -> int:
    """Take optimisation steps, each over all micro-batches of one ``Step``.

    Args:
        engine: holds the policy.
        experience: gives the steps.
        objective: turns outputs into a loss.
        num_steps: of the whole run.
        reports: called after every step, in order.
        first_step: number of the first step to take, after a restart.
        is_over: asked after the reports whether to stop early.

    Returns:
        The number of the last step taken; ``first_step - 1`` if none was.
    """
    number = first_step - 1
    started = time.perf_counter()
    for number, step in enumerate(islice(experience, num_steps - first_step + 1), start=first_step):
        parts, updates, num_tokens = [], {}, 0.0
        for micro_batch in step.micro_batches:
            batch = micro_batch.to(engine.device)
            with _memory_named(number, batch):
                outputs = engine(**batch.inputs, return_logits=False)
                part = objective(outputs, batch, dict(step.denominators))
                engine.backward(part.loss)
                updates = engine.step() or updates
            parts.append(part)
            num_tokens += micro_batch.num_tokens
        finished = time.perf_counter()
        report = _report(number, parts, updates, num_tokens, step, finished - started)
        started = finished
        for tell in reports:
            tell(report)
        if is_over(report):
            break
    return number


@contextmanager
def _memory_named(number: int, batch: Batch) -> Iterator[None]:
    """Say which batch did not fit into memory.

    Raises:
        MemoryLimitError: in place of what torch raises.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one, and the CPU's allocator raises it plainly
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        rows, width = batch.inputs["input_ids"].shape
        pictures = batch.inputs.get("pixel_values")
        shown = "no images" if pictures is None else f"pixel values of shape {tuple(pictures.shape)}"
        raise MemoryLimitError(
            f"Step {number} ran out of memory in a micro-batch of {rows} × {width} tokens with {shown}; lower "
            "`micro_batch_size` and raise `accumulation_steps`, set `activation_checkpointing: [language_model]`, or "
            "split the state with `deepspeed: zero3`.",
            rows=rows,
            width=width,
        ) from error


def _report(
    number: int,
    parts: Sequence[LossOutput],
    updates: dict[str, float],
    num_tokens: float,
    step: Step,
    seconds: float,
) -> StepReport:
    sums = {name: sum(float(part.metrics[name]) for part in parts) for name in parts[0].metrics}
    totals = sum_over_ranks({**sums, **step.notes, "tokens": num_tokens})
    return StepReport(
        step=number,
        metrics={name: totals[name] for name in (*sums, *step.notes)},
        optimisation=updates,
        tokens=totals["tokens"],
        targets=step.denominators.get("tokens", 0.0),
        seconds=seconds,
    )
