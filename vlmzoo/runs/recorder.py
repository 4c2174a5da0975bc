"""The flight recorder: what was asked, said, rewarded and learned from, a line for each completion of a step.

Letters: B completions in a micro-batch, T text positions.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vlmzoo.data.json_lines import JsonLinesWriter
from vlmzoo.distributed import rank
from vlmzoo.errors import ConfigError
from vlmzoo.loop import StepReport
from vlmzoo.objectives import Objective
from vlmzoo.objectives.explaining import Explained, explain
from vlmzoo.objectives.policy_gradient import PolicyGradientObjective
from vlmzoo.outputs import IGNORED_LABEL, Batch, LossOutput, VlmOutput
from vlmzoo.registry import nearest_hint
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import keep_steps

__all__ = ["FlightRecorder", "RecordOptions", "packed_numbers", "rank_file", "recorded", "unpacked_numbers"]

_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """What is written down of a run that learns from its own completions.

    Args:
        every: steps; the first, and then each so many; 0 writes nothing.
        tokens: whether ids and log-probabilities are written, about 22 bytes for each token; without them a step
            cannot be replayed.
    """

    every: int = 1
    tokens: bool = True

    @classmethod
    def parse(cls, spec: Mapping[str, Any] | None) -> "RecordOptions":
        """Read ``{every, tokens}`` as a configuration writes them.

        Raises:
            ConfigError: if an option is unknown or makes no sense.
        """
        for name in spec or {}:
            if name not in ("every", "tokens"):
                raise ConfigError(f"`record` takes no `{name}`.{nearest_hint(name, ('every', 'tokens'))}")
        options = cls(**dict(spec or {}))
        if options.every < 0:
            raise ConfigError(f"`record.every` must be zero or more, but is {options.every} instead.")
        return options


class FlightRecorder:
    """Writes ``rollouts.jsonl``; every rank its own file, so that nobody waits.

    It stands around the objective, where completions meet the log-probabilities of training, and is told of each step
    by the loop.

    Args:
        objective: that learns.
        experience: gave the batches; its ``told_of`` says what a row of one is.
        path: of rank 0's file.
        options: what is written.
    """

    def __init__(self, objective: Objective, experience: Any, path: Path, options: RecordOptions) -> None:
        self.objective, self.experience, self.options = objective, experience, options
        self._writer = JsonLinesWriter(rank_file(path, rank()))
        self._lines: list[dict[str, Any]] = []
        self._num_micro_batches = 0
        self.next_step = 1

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: dict[str, float]) -> LossOutput:
        """Compute the loss, and keep what it was computed from."""
        found = self.objective(outputs, batch, denominators)
        if self._is_wanted(self.next_step) and "completions" in batch.targets:
            objective = _policy_gradient(self.objective)
            explained = None if objective is None else explain(objective, outputs, batch)
            self._lines += self._told(outputs, batch, denominators, explained)
        self._num_micro_batches += 1
        return found

    def report(self, report: StepReport) -> None:
        """Write the lines of a step that was taken."""
        for line in self._lines:
            self._writer.write({"step": report.step, **line})
        self._lines, self._num_micro_batches = [], 0
        self.next_step = report.step + 1

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _is_wanted(self, step: int) -> bool:
        return bool(self.options.every) and (step - 1) % self.options.every == 0

    def _told(
        self, outputs: VlmOutput, batch: Batch, denominators: Mapping[str, float], explained: Explained | None
    ) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        labels = batch.inputs["labels"]
        for row, (place, number) in enumerate(batch.targets["completions"].tolist()):
            line = {"micro_batch": self._num_micro_batches, **self.experience.told_of(place, number)}
            if explained is not None:
                line |= _numbers(explained, row)
            if self.options.tokens:
                where = (labels[row] != IGNORED_LABEL).nonzero().squeeze(1)
                values = {
                    "training": outputs.logprobs,
                    "behaviour": batch.targets.get("behaviour_logprobs"),
                    "reference": batch.targets.get("reference_logprobs"),
                    "entropy": outputs.entropy,
                }
                line["tokens"] = {
                    "start": int(where[0]) if len(where) else 0,
                    "width": labels.shape[1],
                    "ids": labels[row, where].tolist(),
                    **{name: packed_numbers(one[row, where]) for name, one in values.items() if one is not None},
                }
            lines.append(line)
        if lines:
            lines[0]["denominators"] = dict(denominators)
        return lines


@contextmanager
def recorded(
    objective: Objective, experience: Any, folder: RunFolder, steps_taken: int
) -> Iterator[tuple[Objective, list[Callable[[StepReport], None]]]]:
    """Yield the objective with a recorder around it, and what the loop tells of steps, if the experience has rollouts.

    Args:
        objective: that learns.
        experience: of the run.
        folder: of the run.
        steps_taken: by a part of the run that was stopped; their lines stay, later ones go.

    Raises:
        ConfigError: if an option of ``record`` is unknown.
    """
    if not hasattr(experience, "told_of"):
        yield objective, []
        return
    options = RecordOptions.parse(experience.record)
    keep_steps(rank_file(folder.rollouts, rank()), steps_taken)
    recorder = FlightRecorder(objective, experience, folder.rollouts, options)
    recorder.next_step = steps_taken + 1
    try:
        yield recorder, [recorder.report]
    finally:
        recorder.close()


def rank_file(path: Path, number: int) -> Path:
    """Return the file of a rank; those after the first carry its number."""
    return path if number == 0 else path.with_name(f"{path.stem}.rank{number}{path.suffix}")


def packed_numbers(values: Tensor) -> str:
    """Write float32 numbers, to the last bit."""
    return base64.b64encode(values.detach().float().cpu().numpy().astype("<f4").tobytes()).decode("ascii")


def unpacked_numbers(text: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Read what ``packed_numbers`` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def _policy_gradient(objective: Any) -> PolicyGradientObjective | None:
    """Return the policy gradient that an objective is, or is a sum with; None if there is none."""
    if isinstance(objective, PolicyGradientObjective):
        return objective
    terms: Mapping[str, Any] = getattr(objective, "terms", {})
    found = [one for one in terms.values() if isinstance(one, PolicyGradientObjective)]
    return found[0] if len(found) == 1 else None


def _numbers(explained: Explained, row: int) -> dict[str, float | None]:
    kl = explained.kl_nats
    return {
        "advantage": round(float(explained.advantages[row]), _DIGITS),
        "gap_nats": float(explained.gap_nats[row]),
        "clip_fraction": round(float(explained.clip_fraction[row]), _DIGITS),
        "kl_nats": None if kl is None else float(kl[row]),
    }
