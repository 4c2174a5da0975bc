"""One side of a frame, and the way from one side to another, in exact rational arithmetic."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

__all__ = ["Axis", "AxisMap"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where each position along one side of the original image stands in a frame.

    Args:
        original: length of the original, in its pixels.
        size: length of the frame, in its own units.
        scale: frame units per original pixel, positive.
        shift: where the first edge of the original stands, in frame units.
        low: start of the stretch of the original that the frame shows, in original pixels.
        high: end of that stretch; the rest of the frame is padding.
    """

    original: int
    size: int
    scale: Fraction
    shift: Fraction
    low: Fraction
    high: Fraction

    @classmethod
    def whole(cls, size: int) -> Self:
        """Return the side of an original image of ``size`` pixels."""
        return cls(original=size, size=size, scale=Fraction(1), shift=Fraction(0), low=Fraction(0), high=Fraction(size))

    def resized(self, size: int) -> Self:
        """Stretch the whole side to ``size`` units."""
        factor = Fraction(size, self.size)
        return replace(self, size=size, scale=self.scale * factor, shift=self.shift * factor)

    def padded(self, size: int, *, before: int) -> Self:
        """Lengthen the side to ``size`` units, ``before`` of them in front."""
        return replace(self, size=size, shift=self.shift + before)

    def cropped(self, start: int, stop: int) -> Self:
        """Keep what stands between ``start`` and ``stop``."""
        low = max(self.low, self.in_original(start))
        high = max(low, min(self.high, self.in_original(stop)))
        return replace(self, size=stop - start, shift=self.shift - start, low=low, high=high)

    def in_frame(self, position: Fraction) -> Fraction:
        """Take a position from the original to the frame."""
        return self.scale * position + self.shift

    def in_original(self, position: Fraction | int) -> Fraction:
        """Take a position from the frame to the original."""
        return (position - self.shift) / self.scale


@dataclass(frozen=True)
class AxisMap:
    """The map ``position -> scale * position + shift`` from one side to another.

    Args:
        scale: units of the target per unit of the source.
        shift: where the source's first edge stands in the target.
    """

    scale: Fraction
    shift: Fraction

    @classmethod
    def between(cls, source: Axis, target: Axis) -> Self:
        """Return the way through the original that both sides share."""
        scale = target.scale / source.scale
        return cls(scale, target.shift - scale * source.shift)

    def __call__(self, position: float) -> float:
        """Map a position; the result is rounded once, so order is kept and equal sides give equal numbers."""
        return float(self.scale * Fraction(position) + self.shift)
