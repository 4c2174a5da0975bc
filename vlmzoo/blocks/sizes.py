"""Sizes as configs write them."""

from collections.abc import Sequence

from vlmzoo.errors import ConfigError

__all__ = ["as_height_width"]


def as_height_width(size: int | Sequence[int], *, name: str = "image_size") -> tuple[int, int]:
    """Read a side or a ``(height, width)`` pair, in pixels or positions.

    Raises:
        ConfigError: if it is neither, or not positive.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ConfigError(f"`{name}` must be a side or a (height, width) pair of positive integers, but is {size!r}.")
    return pair[0], pair[1]
