"""Proposers: what looks for a named object in an image, for an agent that answers with evidence.

A name in a config is a file here; in Python any callable ``(image, question, name)`` will do, which returns a box,
several boxes, a ``Proposal`` or None.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from PIL import Image

from vlmzoo.agents.visual_search import SearchResult
from vlmzoo.geometry import Box
from vlmzoo.registry import Registry

__all__ = ["PROPOSERS", "PlainProposer", "Proposal", "ProposeCall", "Proposer"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Where an object may be.

    Args:
        boxes: in frames of the image, the likeliest first; none if it was not found.
        probability: of the first; None where nobody says.
        said: in the model's own words, where it says it in words.
        search: how it was searched for, where it was.
    """

    boxes: Sequence[Box] = ()
    probability: float | None = None
    said: str = ""
    search: SearchResult | None = None


@runtime_checkable
class Proposer(Protocol):
    """Looks for objects."""

    @property
    def models(self) -> Sequence[Any]:
        """The models that it asks, so that their work can be counted."""
        ...

    def propose(self, image: Image.Image, question: str, name: str, *, time_left_s: float | None) -> Proposal:
        """Look for an object.

        Args:
            image: RGB.
            question: that the object is looked for to answer.
            name: of the object.
            time_left_s: after which the answer comes without it; None for no limit.
        """
        ...


ProposeCall: TypeAlias = Callable[[Image.Image, str, str], "Proposal | Box | Sequence[Box] | None"]


class PlainProposer:
    """Any callable as a proposer.

    Args:
        call: given the image, the question and the name.
    """

    models: Sequence[Any] = ()

    def __init__(self, call: ProposeCall) -> None:
        self.call = call

    def propose(self, image: Image.Image, question: str, name: str, *, time_left_s: float | None) -> Proposal:
        """Call it, and make a proposal of what comes."""
        found = self.call(image, question, name)
        if isinstance(found, Proposal):
            return found
        if found is None:
            return Proposal()
        return Proposal(boxes=[found] if isinstance(found, Box) else list(found))


PROPOSERS: Registry[Proposer] = Registry("proposer", "vlmzoo.agents.proposers")
"""Each is built with the ``model`` that it asks."""
