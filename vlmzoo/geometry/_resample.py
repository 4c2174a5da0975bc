"""Reading a grid of pixels at the pixel centres of another frame.

Letters: (H, W) pixels of the source, (H', W') of the target.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlmzoo.geometry._axis import Axis, AxisMap
from vlmzoo.geometry.frames import Frame, axis_maps

__all__ = ["resample_bilinear", "resample_nearest"]

A = TypeVar("A", bound=np.generic)

_HALF = Fraction(1, 2)


@dataclass(frozen=True)
class _Reads:
    """Where the pixels of one side of the target read the source.

    Args:
        start: first target pixel whose centre both frames see.
        stop: one beyond the last.
        nearest: ``(stop - start,)``, the source pixel that holds the centre.
        lower: ``(stop - start,)``, the source pixel whose centre lies before; kept inside the source.
        upper: ``(stop - start,)``, the next one; kept inside the source.
        weight: ``(stop - start,)``, share of ``upper``.
    """

    start: int
    stop: int
    nearest: NDArray[np.intp]
    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float64]


def resample_nearest(array: NDArray[A], *, source: Frame, target: Frame) -> NDArray[A]:
    """Read the pixel that holds each centre: ``(H, W)`` to ``(H', W')``, zero where either frame has padding."""
    y, x = _reads_of(source, target)
    result = np.zeros((target.height, target.width), dtype=array.dtype)
    result[y.start : y.stop, x.start : x.stop] = array[np.ix_(y.nearest, x.nearest)]
    return result


def resample_bilinear(
    array: NDArray[np.floating[Any]], *, source: Frame, target: Frame, fill: float
) -> NDArray[np.float64]:
    """Weigh the four nearest pixels: ``(H, W)`` to ``(H', W')``, ``fill`` where either frame has padding.

    This is ``align_corners=False`` without anti-aliasing: the border is repeated, and shrinking skips pixels.
    """
    y, x = _reads_of(source, target)
    values = array.astype(np.float64)
    values = _mix(values[y.lower], values[y.upper], y.weight[:, None])
    result = np.full((target.height, target.width), fill, dtype=np.float64)
    result[y.start : y.stop, x.start : x.stop] = _mix(values[:, x.lower], values[:, x.upper], x.weight)
    return result


def _mix(lower: NDArray[np.float64], upper: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return lower + (upper - lower) * weight  # in this form equal values stay what they are


def _reads_of(source: Frame, target: Frame) -> tuple[_Reads, _Reads]:
    """Return the reads along y and x; refuse frames of different images."""
    axis_maps(source, target)
    return _reads(source.y, target.y), _reads(source.x, target.x)


def _reads(source: Axis, target: Axis) -> _Reads:
    """Find the reads of one side, in integers throughout, so that no centre falls to the wrong side of an edge."""
    low, high = max(source.low, target.low), min(source.high, target.high)
    start = math.ceil(target.in_frame(low) - _HALF)
    stop = max(start, math.ceil(target.in_frame(high) - _HALF))
    back = AxisMap.between(target, source)
    first, step = back.scale / 2 + back.shift, back.scale  # the centre of target pixel i is at first + i * step
    unit = math.lcm(first.denominator, step.denominator)
    origin, stride = int(first * unit), int(step * unit)
    positions = [origin + stride * index for index in range(start, stop)]  # in source pixels, times unit
    lower = [(2 * position - unit) // (2 * unit) for position in positions]
    weight = [(2 * position - unit) % (2 * unit) / (2 * unit) for position in positions]
    last = source.size - 1
    return _Reads(
        start=start,
        stop=stop,
        nearest=np.array([position // unit for position in positions], dtype=np.intp),
        lower=np.array([max(index, 0) for index in lower], dtype=np.intp),
        upper=np.array([min(index + 1, last) for index in lower], dtype=np.intp),
        weight=np.array(weight, dtype=np.float64),
    )
