"""What travels through the making of pairs; plain values, so that it can be sent and saved."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Answer", "AskedPrompt", "MadePair", "Outcome"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One distinct answer of the policy.

    Args:
        text: without special tokens.
        ids: as they were drawn; they are trained as they are.
        count: how often it was drawn.
    """

    text: str
    ids: tuple[int, ...]
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class AskedPrompt:
    """A prompt and what the policy said to it.

    Args:
        place: of the prompt in the run.
        name: of its sample.
        question: without images.
        reference: an answer that is right.
        answers: distinct ones, in the order in which they first came.
        policy_step: updates that the policy had taken.
    """

    place: int
    name: str
    question: str
    reference: str
    answers: tuple[Answer, ...]
    policy_step: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AskedPrompt":
        """Build one from what :meth:`to_dict` gave."""
        answers = tuple(Answer(**{**one, "ids": tuple(one["ids"])}) for one in values["answers"])
        return cls(**{**values, "answers": answers})


@dataclass(frozen=True, kw_only=True)
class MadePair:
    """A pair that is ready to be trained.

    Args:
        place: of its prompt.
        number: among the pairs of its prompt.
        name: of the sample.
        question: without images.
        chosen: the better answer.
        rejected: the worse one.
        chosen_ids: as drawn; None for a reference answer.
        rejected_ids: as drawn.
        chosen_score: what the judge gave.
        rejected_score: likewise.
        policy_step: updates that the policy had taken when it said this.
        description: of the negative image.
        image: digest of the negative image; None for a pair whose texts alone are compared.
        positive: digest of the picture that was asked about, where it was kept.
    """

    place: int
    number: int
    name: str
    question: str
    chosen: str
    rejected: str
    chosen_ids: tuple[int, ...] | None
    rejected_ids: tuple[int, ...]
    chosen_score: float
    rejected_score: float
    policy_step: int
    description: str | None = None
    image: str | None = None
    positive: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MadePair":
        """Build one from what :meth:`to_dict` gave."""
        chosen = values["chosen_ids"]
        ids = {"chosen_ids": None if chosen is None else tuple(chosen), "rejected_ids": tuple(values["rejected_ids"])}
        return cls(**{**values, **ids})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one prompt.

    Args:
        asked: the prompt.
        pairs: that were made of it, none perhaps.
        scores: of its answers; None where there is none.
        reasons: why answers or pictures fell out, in words.
        counts: telemetry by name, to be added up over prompts.
    """

    asked: AskedPrompt
    pairs: tuple[MadePair, ...]
    scores: tuple[float | None, ...]
    reasons: tuple[str, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
