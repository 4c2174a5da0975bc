"""What a run that learns from its own completions suffers from, told from what its flight recorder wrote.

A disease is named once: what follows from it (groups without variance, mostly) is not named beside it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmzoo.runs.flight import Line
from vlmzoo.runs.frames import boxes_miss
from vlmzoo.runs.recorder import unpacked_numbers

__all__ = ["Finding", "diagnose"]

_WINDOW = 10  # steps at the end of what was recorded
_MOSTLY, _NEARLY_ALL = 0.5, 0.95
_GAP_NATS = 0.02  # numbers of another kernel or precision stay below it
_FEWEST_ANSWERS = 4  # different right answers, before one that is always given is odd


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A disease.

    Args:
        name: what it is called.
        evidence: the figures that say so.
        way_out: what to look at, or to change.
    """

    name: str
    evidence: str
    way_out: str


def diagnose(lines: Sequence[Line]) -> list[Finding]:
    """Name what the last recorded steps suffer from; nothing if they are well.

    Args:
        lines: of ``rollouts.jsonl``, in order of step.
    """
    steps = sorted({line["step"] for line in lines})[-_WINDOW:]
    recent = [line for line in lines if line["step"] >= steps[0]] if steps else []
    checks: Sequence[Callable[[Sequence[Line]], Finding | None]] = (_truncated, _wrong_frame, _collapsed)
    found = next((finding for check in checks if (finding := check(recent)) is not None), None)
    named = [finding for finding in (found, _other_engine(recent)) if finding is not None]
    if found is None and (flat := _constant(recent)) is not None:
        named.append(flat)
    return named


def _truncated(lines: Sequence[Line]) -> Finding | None:
    share = _mean([not line["is_finished"] for line in lines])
    if share < _MOSTLY:
        return None
    longest = max(line["num_tokens"] for line in lines)
    return Finding(
        name="completions truncated",
        evidence=f"{share:.0%} of the completions were cut at the limit of {longest} tokens.",
        way_out="Raise `sampling.max_new_tokens`, or teach the model to come to an end.",
    )


def _wrong_frame(lines: Sequence[Line]) -> Finding | None:
    missed = boxes_miss(lines)
    if missed is None:
        return None
    return Finding(
        name="format satisfied, IoU always 0: wrong frame",
        evidence=missed,
        way_out="Compare `coordinates` of the source with what the model was trained to write.",
    )


def _collapsed(lines: Sequence[Line]) -> Finding | None:
    said = Counter(line["completion"].strip() for line in lines)
    if not said or len({line["place"] for line in lines}) < _FEWEST_ANSWERS:
        return None
    ((completion, count),) = said.most_common(1)
    wanted = Counter(line["answer"] for line in lines)
    if count / len(lines) < _NEARLY_ALL or max(wanted.values()) / len(lines) >= _NEARLY_ALL:
        return None
    return Finding(
        name="collapsed to one answer",
        evidence=f"{count / len(lines):.0%} of the completions to all prompts are {completion[:60]!r}, but "
        f"{len(wanted)} different answers are right.",
        way_out="Balance the labels (`prompts.balance`), raise `kl_coef` or `temperature`, or lower the learning rate.",
    )


def _constant(lines: Sequence[Line]) -> Finding | None:
    groups = {(line["step"], line["place"]): line["group_rewards"] for line in lines}
    share = _mean([len(set(rewards)) == 1 for rewards in groups.values()])
    if not groups or share < _NEARLY_ALL:
        return None
    return Finding(
        name="all groups constant",
        evidence=f"in {share:.0%} of {len(groups)} groups all rewards are equal, so that there is nothing to learn.",
        way_out="Raise `sampling.temperature` or `num_rollouts`, choose prompts of middling difficulty, "
        "or set `on_zero_variance: resample`.",
    )


def _other_engine(lines: Sequence[Line]) -> Finding | None:
    """Compare rollout and training at the first update after sampling, when both should be one model."""
    fresh = [line for line in lines if line.get("update", 0) == 0 and "gap_nats" in line]
    gap = _mean([line["gap_nats"] for line in fresh])
    if gap < _GAP_NATS:
        return None
    to_reference = _gap_to_reference(fresh)
    if to_reference is not None and to_reference < min(_GAP_NATS, gap / 2):
        return Finding(
            name="adapter not in the rollout engine",
            evidence=f"sampling and training differ by {gap:.3f} nats a token, sampling and the reference by "
            f"{to_reference:.3f}: the completions are the base's.",
            way_out="Give the engine the merged weights, or the adapter, after every update.",
        )
    return Finding(
        name="rollout engine and training disagree",
        evidence=f"their log-probabilities differ by {gap:.3f} nats a token right after sampling.",
        way_out="Compare weights, temperature, chat template and precision of both.",
    )


def _gap_to_reference(lines: Sequence[Line]) -> float | None:
    gaps = [
        float(abs(unpacked_numbers(tokens["behaviour"]) - unpacked_numbers(tokens["reference"])).mean())
        for line in lines
        if "reference" in (tokens := line.get("tokens", {})) and tokens["ids"]
    ]
    return _mean(gaps) if gaps else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
