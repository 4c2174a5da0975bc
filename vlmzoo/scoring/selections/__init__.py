"""Selections: which of a prompt's scored answers become the better and the worse one of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vlmzoo.registry import Registry

__all__ = ["REFERENCE_SCORE", "SELECTIONS", "PairChoice", "Selection"]

REFERENCE_SCORE = 11.0
"""The score of a reference answer that stands in for a chosen one: above all that a judge gives."""


@dataclass(frozen=True, kw_only=True)
class PairChoice:
    """One pair.

    Args:
        chosen: number of the better answer; None for the reference answer.
        rejected: number of the worse one.
        chosen_score: what the judge gave it; ``REFERENCE_SCORE`` for the reference.
        rejected_score: likewise.
    """

    chosen: int | None
    rejected: int
    chosen_score: float
    rejected_score: float


class Selection(Protocol):
    """Chooses pairs."""

    def __call__(self, scores: Sequence[float | None]) -> list[PairChoice]:
        """Return the pairs of one prompt's answers; None among the scores is an answer that could not be judged."""
        ...


SELECTIONS: Registry[Selection] = Registry("selection", "vlmzoo.scoring.selections")
