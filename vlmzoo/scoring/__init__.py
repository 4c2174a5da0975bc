"""Scores: ``(completion, reference) -> float``; the same function rewards in training and measures in evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vlmzoo.registry import Registry

__all__ = ["SCORES", "Score", "check_scores"]


class Score(Protocol):
    """Compares what a model said with what it should have said."""

    def __call__(self, completion: str, reference: Any) -> float:
        """Return the score, usually within [0, 1]; never raises, whatever the completion."""
        ...


SCORES: Registry[Score] = Registry("score", "vlmzoo.scoring")


def check_scores(given: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> None:
    """Check a score's name, its ``{type: name, …}``, or several of either.

    Raises:
        ConfigError: if one has arguments that it does not take.
        RegistryError: if there is no such score.
    """
    several = [given] if isinstance(given, str | Mapping) else given
    SCORES.check_each({"type": one} if isinstance(one, str) else one for one in several)
