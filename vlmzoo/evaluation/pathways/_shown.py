"""What pathways of an agent's evidence have in common: they put other evidence in the place of what was found."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vlmzoo.agents.shown import Shown
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks.synthetic import derangement
from vlmzoo.evaluation.pathways import KINDS
from vlmzoo.types import Sample

__all__ = ["ShownPathway"]


class ShownPathway:
    """One property of the evidence that an agent shows; a pathway says in ``other`` what comes in its place.

    Swapping takes the evidence of another question that was asked at the same time and has some; questions without
    evidence stay as they are.

    Args:
        subject: an agent, which has ``alter``.

    Raises:
        ConfigError: if the subject shows no evidence.
    """

    kinds: Sequence[str] = KINDS

    def __init__(self, *, subject: Any) -> None:
        if not hasattr(subject, "alter"):
            raise ConfigError(
                "A pathway of evidence needs an agent, which shows some, but the subject is a "
                f"{type(subject).__name__}; name one under `agent` of the audit."
            )
        self.subject = subject

    def other(self, kind: str, shown: Shown, partner: Shown, draw: np.random.Generator) -> Shown:
        """Return what is shown in place of a piece of evidence.

        Args:
            kind: of the disturbance.
            shown: what was found.
            partner: what was found for another question; only ``swap`` looks at it.
            draw: of chance.
        """
        raise NotImplementedError

    @contextmanager
    def disturbed(self, kind: str, samples: Sequence[Sample], *, seed: int) -> Iterator[Sequence[Sample]]:
        """Disturb what the agent shows; the questions stay as they are."""
        draw = np.random.default_rng(seed)

        def alter(found: Sequence[Sequence[Shown]]) -> list[list[Shown]]:
            partners = _partners(found, seed=seed) if kind == "swap" else found
            return [
                [self.other(kind, one, theirs[place % len(theirs)], draw) for place, one in enumerate(own)]
                for own, theirs in zip(found, partners, strict=True)
            ]

        before = self.subject.alter
        self.subject.alter = alter
        try:
            yield samples
        finally:
            self.subject.alter = before


def _partners(found: Sequence[Sequence[Shown]], *, seed: int) -> list[Sequence[Shown]]:
    """Return for each question the evidence of another one.

    Raises:
        DataError: if a single question has evidence, so that there is nothing to swap it with.
    """
    places = [place for place, own in enumerate(found) if own]
    if len(places) == 1:
        raise DataError(
            "Evidence can be swapped among questions that are asked together and have some, but only one of "
            f"{len(found)} has; raise `batch_size`, let the agent `decide: slow`, or leave `swap` out."
        )
    partners = list(found)
    if places:
        for place, other in zip(places, derangement(len(places), seed=seed), strict=True):
            partners[place] = found[places[other]]
    return partners
