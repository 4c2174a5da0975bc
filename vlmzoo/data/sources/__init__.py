"""Sources: where conversations come from, addressed by position so that a cursor is one number."""

from typing import Protocol

from vlmzoo.registry import Registry
from vlmzoo.types import Sample

__all__ = ["SOURCES", "STRETCH", "Source"]

STRETCH = 10**9
"""Positions that one run may use of an endless source; the run with seed s starts at s times this."""


class Source(Protocol):
    """An addressable stream of conversations."""

    @property
    def size(self) -> int | None:
        """How many there are; None if there is no end."""
        ...

    def sample(self, position: int) -> Sample:
        """Return the conversation at a position; the same one every time."""
        ...


SOURCES: Registry[Source] = Registry("source", "vlmzoo.data.sources")
