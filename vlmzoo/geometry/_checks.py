"""What a number must be before it becomes part of a frame, a box or a polygon."""

import math
from numbers import Integral, Real

from vlmzoo.errors import DataError

__all__ = ["MAX_POSITION", "checked_position", "checked_size"]

MAX_POSITION = 1e12
"""Positions beyond are refused: no image is that large, and areas stay finite."""


def checked_position(name: str, value: object) -> float:
    """Return a position as a float.

    Raises:
        DataError: if it is no number, not finite, or beyond ``MAX_POSITION``.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DataError(f"`{name}` must be a number, but is {value!r} instead; convert it where it is read.")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not abs(number) <= MAX_POSITION:  # NaN, too, fails the comparison
        raise DataError(
            f"`{name}` must be a finite number within ±{MAX_POSITION:g}, but is {number} instead; check what wrote it."
        )
    return number


def checked_size(name: str, value: object) -> int:
    """Return a width, a height or a count as an integer.

    Raises:
        DataError: if it is no whole number, or less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise DataError(f"`{name}` must be a whole number, but is {value!r} instead; round it where it is made.")
    size = int(value)
    if size < 1:
        raise DataError(f"`{name}` must be at least 1, but is {size} instead; nothing can be that small.")
    return size
