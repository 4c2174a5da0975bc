"""Sources: where conversations come from, addressed by position so that a cursor is one number.

A source is pickled into worker processes, so it holds no open handles, and an index rather than the data.
"""

from typing import Literal, Protocol, TypeAlias

from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import DataError
from vlmzoo.registry import Registry
from vlmzoo.types import Sample

__all__ = ["SOURCES", "STRETCH", "TINY", "FaultKind", "RowError", "Source"]

STRETCH = 10**9
"""Positions that one run may use of an endless source; the run with seed s starts at s times this."""

FaultKind: TypeAlias = Literal[
    "broken row",
    "missing field",
    "wrong value",
    "unknown role",
    "turn order",
    "image count",
    "missing image",
    "broken image",
    "broken mask",
    "mask size",
]
"""What can be wrong with a row."""


class Source(Protocol):
    """An addressable stream of conversations."""

    @property
    def size(self) -> int | None:
        """How many there are; None if there is no end."""
        ...

    def sample(self, position: int) -> Sample:
        """Return the conversation at a position; the same one every time.

        Raises:
            DataError: if the row is corrupt; other rows are not affected.
        """
        ...


class RowError(DataError):
    """One row of a source is corrupt, and the others are as good as before.

    Args:
        sentence: what must be, what is instead, and the way out.
        kind: for counting.
    """

    def __init__(self, sentence: str, kind: FaultKind) -> None:
        super().__init__(sentence, kind)
        self.kind: FaultKind = kind

    def __str__(self) -> str:
        """Return the sentence."""
        return str(self.args[0])

    def at(self, place: str) -> "RowError":
        """Return the same fault with the place where it was found, e.g. ``Line 3 of `train.jsonl```."""
        return RowError(f"{place}: {self}", self.kind)


SOURCES: Registry[Source] = Registry("source", "vlmzoo.data.sources")
