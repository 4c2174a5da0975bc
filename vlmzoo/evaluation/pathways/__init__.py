"""Evidence pathways: the ways by which what is in a picture reaches an answer, each of which can be disturbed.

An encoder of several is one; so are the picture as a whole, a crop, a mask or a box that an agent writes into a prompt.
A pathway is a file here that registers under a name; whoever answers, a model or an agent, is its ``subject``.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vlmzoo.registry import Registry
from vlmzoo.types import Sample

__all__ = ["KINDS", "PATHWAYS", "Pathway"]

KINDS = ("blank", "swap", "shuffle", "noise")
"""What is commonly done to evidence: leave it out, take that of another question, disorder it, replace it by chance."""


class Pathway(Protocol):
    """One way from a picture to an answer."""

    @property
    def kinds(self) -> Sequence[str]:
        """The disturbances that it knows."""
        ...

    def disturbed(self, kind: str, samples: Sequence[Sample], *, seed: int) -> AbstractContextManager[Sequence[Sample]]:
        """Disturb the evidence that reaches the answers to some questions by this way, and by no other.

        Args:
            kind: one of ``kinds``.
            samples: the questions that will be asked at once.
            seed: of what is drawn.

        Returns:
            A context within which the evidence is disturbed; it gives the questions to ask in place of ``samples``.

        Raises:
            DataError: if these questions cannot be disturbed so, e.g. a single one cannot be swapped.
        """
        ...


PATHWAYS: Registry[Pathway] = Registry("evidence pathway", "vlmzoo.evaluation.pathways")
"""Each is built with the ``subject``, a model or an agent."""
