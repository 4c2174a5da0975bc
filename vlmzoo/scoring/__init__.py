"""Scores: ``(completion, reference) -> float``; the same function rewards in training and measures in evaluation."""

from typing import Any, Protocol

from vlmzoo.registry import Registry

__all__ = ["SCORES", "Score"]


class Score(Protocol):
    """Compares what a model said with what it should have said."""

    def __call__(self, completion: str, reference: Any) -> float:
        """Return the score, usually within [0, 1]; never raises, whatever the completion."""
        ...


SCORES: Registry[Score] = Registry("score", "vlmzoo.scoring")
