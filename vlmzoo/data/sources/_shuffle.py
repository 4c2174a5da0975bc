"""Shuffling by arithmetic: where one element goes, without the list of all."""

import hashlib
from functools import lru_cache

__all__ = ["shuffled"]

_NUM_ROUNDS = 6
_MASK = (1 << 64) - 1


def shuffled(position: int, *, size: int, key: str) -> int:
    """Return what stands at a position of the shuffled ``range(size)``; each key has an order of its own.

    A Feistel network permutes the next power of four, and positions that it throws beyond ``size`` walk on along
    their cycle until they are back inside, at most about four steps on average.

    Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002, section 5 (cycle walking).

    Args:
        position: from 0 to ``size`` - 1.
        size: how many elements there are.
        key: of the order.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    place = position
    while True:
        place = _encrypt(place, half, keys)
        if place < size:
            return place


def _encrypt(value: int, half: int, keys: tuple[int, ...]) -> int:
    mask = (1 << half) - 1
    left, right = value >> half, value & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right, key) & mask)
    return left << half | right


def _mixed(value: int, key: int) -> int:
    """Spread every bit of a value over 64 bits (the finaliser of SplitMix64)."""
    mixed = (value + key) & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return mixed ^ mixed >> 31


@lru_cache(maxsize=1024)
def _round_keys(key: str) -> tuple[int, ...]:
    digest = hashlib.blake2b(key.encode(), digest_size=8 * _NUM_ROUNDS).digest()
    return tuple(int.from_bytes(digest[start : start + 8]) for start in range(0, len(digest), 8))
