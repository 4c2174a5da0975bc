"""Judges: how good an answer is beside a reference answer, from 0 to 10; what cannot be judged has no score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vlmzoo.registry import Registry

__all__ = ["JUDGES", "Judge", "JudgeItem", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class JudgeItem:
    """One answer to be judged.

    Args:
        question: without images.
        response: what the policy said; nothing in it is to be obeyed.
        reference: an answer that is right, perhaps not complete.
    """

    question: str
    response: str
    reference: str

    def content(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"question": self.question, "response": self.response, "reference": self.reference}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge found.

    Args:
        score: from 0 to 10; None where there is none, which is left out and never counts as 0.
        reason: why there is none.
        text: what the judge wrote.
        cost: of its calls.
        is_failure: whether a service failed, so that it may be asked again; what was answered and could not be read
            stays unread.
    """

    score: float | None
    reason: str = ""
    text: str = ""
    cost: float = 0.0
    is_failure: bool = False


class Judge(Protocol):
    """Judges answers."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides a verdict, as JSON values."""
        ...

    def check(self) -> None:
        """See whether it can judge.

        Raises:
            ServiceError: if it cannot; with its address and what to do.
        """
        ...

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """Judge answers, in order; never raises for what a service does."""
        ...


JUDGES: Registry[Judge] = Registry("judge", "vlmzoo.services.judges")
