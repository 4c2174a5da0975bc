"""Experiences: what a model learns from, as an iterable of steps that can say where it is."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from vlmzoo.outputs import Step
from vlmzoo.registry import Registry

__all__ = ["EXPERIENCES", "Experience"]


class Experience(Protocol):
    """Gives one step after the other; online ones sample from the policy when asked for the next.

    A class may say what its batches hold, ``brings``: ``answers``, ``pairs`` or ``rewards``; then a run refuses
    objectives that learn from something else (their ``learns_from``), and asks for one that learns from this.
    """

    def __iter__(self) -> Iterator[Step]:
        """Iterate over steps, from where the experience stands."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands, JSON-serialisable."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another stood."""
        ...


EXPERIENCES: Registry[Experience] = Registry("experience", "vlmzoo.experience")
