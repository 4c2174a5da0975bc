"""Reading the flight recorder, and computing a step's loss again from what it wrote, without the model.

Letters: B completions in a micro-batch, T text positions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlmzoo.data.json_lines import read_json_lines
from vlmzoo.errors import DataError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import IGNORED_LABEL, Batch, VlmOutput
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.recorder import unpacked_numbers

__all__ = ["Replay", "read_rollouts", "replay_step"]

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Replay:
    """A step computed again.

    Args:
        step: its number.
        loss: from the recorded numbers.
        journal_loss: as the run wrote it.
        num_completions: that the step learned from, as far as they are recorded.
    """

    step: int
    loss: float
    journal_loss: float
    num_completions: int

    @property
    def difference(self) -> float:
        """How far the two losses lie apart."""
        return abs(self.loss - self.journal_loss)


def read_rollouts(folder: RunFolder) -> list[Line]:
    """Return the lines of all ranks in order of step; of a step that was repeated after a kill, the last lines count.

    Raises:
        DataError: if there are none.
    """
    lines: list[Line] = []
    for path in folder.rollout_files():
        lines += [{**line, "file": path.name} for line in read_json_lines(path)]
    if not lines:
        raise DataError(
            f"`{folder.root}` must hold `{folder.rollouts.name}` with lines, but does not; only runs with "
            "an experience of type `rollouts` are recorded, unless `record: {every: 0}`."
        )
    return sorted(lines, key=lambda line: line["step"])


def replay_step(folder: RunFolder, step: int) -> Replay:
    """Compute the loss of a step again: the objective of the run on recorded log-probabilities and rewards.

    Raises:
        DataError: if the step is not recorded with its tokens, or the folder has no configuration.
    """
    lines = [line for line in read_rollouts(folder) if line["step"] == step]
    journal = {line["step"]: line for line in read_journal(folder.journal)}
    if not lines or step not in journal:
        raise DataError(
            f"Step {step} must be recorded, but is not; see `record.every` and the last step of the journal."
        )
    if any("tokens" not in line for line in lines):
        raise DataError(f"Step {step} must be recorded with its tokens, but is not; set `record.tokens: true`.")
    objective = OBJECTIVES.build(_objective_spec(folder))
    loss = 0.0
    for part, denominators in _micro_batches(lines):
        loss += float(objective(*_rebuilt(part), dict(denominators)).loss)
    return Replay(step, loss, float(journal[step]["loss"]), len(lines))


def _objective_spec(folder: RunFolder) -> Mapping[str, Any]:
    try:
        return json.loads(folder.config.read_text(encoding="utf-8"))["config"]["objective"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"`{folder.config}` must hold the configuration of the run, but cannot be read: {error}."
        ) from error


def _micro_batches(lines: Sequence[Line]) -> Iterator[tuple[list[Line], Mapping[str, float]]]:
    parts: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
        parts.setdefault((line["file"], line["micro_batch"]), []).append(line)
    for part in parts.values():
        yield part, part[0]["denominators"]


def _rebuilt(lines: Sequence[Line]) -> tuple[VlmOutput, Batch]:
    """Put recorded numbers where they stood, ``(B, T)``."""
    shape = len(lines), max(line["tokens"]["width"] for line in lines)
    labels = torch.full(shape, IGNORED_LABEL)
    found: dict[str, Any] = {}
    for row, line in enumerate(lines):
        tokens = line["tokens"]
        where = slice(tokens["start"], tokens["start"] + len(tokens["ids"]))
        labels[row, where] = torch.tensor(tokens["ids"], dtype=torch.long)
        for name in ("training", "behaviour", "reference", "entropy"):
            if name in tokens:
                values = found.setdefault(name, torch.zeros(shape))
                values[row, where] = torch.from_numpy(unpacked_numbers(tokens[name]).copy())
    width = max(len(line["group_rewards"]) for line in lines)
    groups = [line["group_rewards"] + [float("nan")] * (width - len(line["group_rewards"])) for line in lines]
    targets = {
        "rewards": torch.tensor([line["reward"] for line in lines], dtype=torch.float32),
        "group_rewards": torch.tensor(groups, dtype=torch.float32),
        "behaviour_logprobs": found["behaviour"],
    }
    if "reference" in found:
        targets["reference_logprobs"] = found["reference"]
    outputs = VlmOutput(logprobs=found["training"], entropy=found.get("entropy"))
    return outputs, Batch(inputs={"labels": labels}, targets=targets)
