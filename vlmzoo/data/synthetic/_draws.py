"""Uniform draws that depend on a key alone: not on worker, order, hash seed or Python version."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Draws"]

T = TypeVar("T")


class Draws:
    """A stream of uniform draws, the same for the same key everywhere.

    Only ``random.Random.random`` is used, whose sequence Python promises to keep from version to version.

    Args:
        key: names and numbers that identify the stream; joined as text and hashed.
    """

    def __init__(self, *key: str | int) -> None:
        digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=16).digest()
        self.fraction = random.Random(int.from_bytes(digest, "big")).random

    def integer(self, low: int, high: int) -> int:
        """Return an integer, uniform from ``low`` to ``high``, both included."""
        return low + int(self.fraction() * (high - low + 1))

    def coin(self) -> bool:
        """Return True with probability 1/2."""
        return self.fraction() < 0.5

    def digits(self, count: int) -> tuple[int, ...]:
        """Return ``count`` integers, each uniform from 0 to 9."""
        fraction = self.fraction
        return tuple([int(fraction() * 10) for _ in range(count)])

    def distinct(self, pool: Sequence[T], count: int) -> tuple[T, ...]:
        """Return ``count`` different members of ``pool`` in random order, all orders equally likely."""
        rest = list(pool)
        for position in range(count):
            chosen = self.integer(position, len(rest) - 1)
            rest[position], rest[chosen] = rest[chosen], rest[position]
        return tuple(rest[:count])
