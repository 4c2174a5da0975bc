"""Masks and heat maps: one value for each pixel of a frame.

Letters: (H, W) pixels of the frame, (H', W') of another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError, FrameError, ShapeError
from vlmzoo.geometry._resample import resample_bilinear, resample_nearest
from vlmzoo.geometry.boxes import Box
from vlmzoo.geometry.frames import Frame, require_same_frame

__all__ = ["HeatMap", "Mask"]


@dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of a frame that belong to something.

    ``mask & other``, ``mask | other`` and ``~mask`` combine masks of one frame.

    Args:
        array: ``(H, W)`` of bool; it is copied, and the copy cannot be written to.
        frame: whose pixels these are.

    Raises:
        DataError: if the array is not of bool.
        FrameError: if the frame has no pixels.
        ShapeError: if the array has not the frame's height and width.
    """

    array: NDArray[np.bool_]
    frame: Frame = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check the array against the frame, and keep a copy."""
        array = _frozen_copy(self.array, frame=self.frame, name="mask")
        if array.dtype != np.bool_:
            raise DataError(
                f"A mask must be an array of bool, but is of {array.dtype} instead; write which values belong to it, "
                "such as `array > 0` or `array == 1`."
            )
        object.__setattr__(self, "array", array)

    @property
    def area(self) -> int:
        """Number of pixels that belong to the mask."""
        return int(np.count_nonzero(self.array))

    def box(self) -> Box | None:
        """Return the smallest box that holds all pixels of the mask, or None where there is none."""
        rows, columns = (np.flatnonzero(self.array.any(axis=axis)) for axis in (1, 0))
        if rows.size == 0:
            return None
        edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        return Box.from_xyxy([float(edge) for edge in edges], frame=self.frame)

    def to(self, frame: Frame, *, mode: Literal["nearest", "bilinear"] = "nearest") -> "Mask":
        """Return the mask in another frame; what either frame shows as padding does not belong to it.

        Args:
            frame: where to.
            mode: a pixel takes the value of the pixel that holds its centre (``nearest``), or belongs where the
                bilinear mean is at least one half.

        Raises:
            DataError: if ``mode`` is neither.
            FrameError: if ``frame`` shows another image, or has no pixels.
        """
        if mode not in ("nearest", "bilinear"):
            raise DataError(f"`mode` must be `nearest` or `bilinear`, but is {mode!r} instead.")
        if frame == self.frame:
            return self
        _require_pixels(frame, name="mask")
        if mode == "nearest":
            return Mask(resample_nearest(self.array, source=self.frame, target=frame), frame=frame)
        shares = resample_bilinear(self.array.astype(np.float64), source=self.frame, target=frame, fill=0.0)
        return Mask(shares >= 0.5, frame=frame)

    def __and__(self, other: "Mask") -> "Mask":
        """Return what belongs to both."""
        return self._combined(other, np.logical_and)

    def __or__(self, other: "Mask") -> "Mask":
        """Return what belongs to either."""
        return self._combined(other, np.logical_or)

    def __invert__(self) -> "Mask":
        """Return what does not belong to the mask."""
        return Mask(~self.array, frame=self.frame)

    def __eq__(self, other: object) -> bool:
        """Say whether frame and pixels are the same."""
        if not isinstance(other, Mask):
            return NotImplemented
        return self.frame == other.frame and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        """Hash frame and pixels."""
        return hash((self.frame, self.array.tobytes()))

    def _combined(self, other: "Mask", combine: Callable[..., NDArray[np.bool_]]) -> "Mask":
        require_same_frame(other.frame, self.frame, what="The second mask")
        return Mask(combine(self.array, other.array), frame=self.frame)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A number for each pixel of a frame: a probability, or the logit of a mask decoder.

    Args:
        array: ``(H, W)`` of floats; it is copied, and the copy cannot be written to.
        frame: whose pixels these are.

    Raises:
        DataError: if the array is not of floats, or a value is not finite.
        FrameError: if the frame has no pixels.
        ShapeError: if the array has not the frame's height and width.
    """

    array: NDArray[np.floating[Any]]
    frame: Frame = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check the array against the frame, and keep a copy."""
        array = _frozen_copy(self.array, frame=self.frame, name="heat map")
        if not np.issubdtype(array.dtype, np.floating):
            raise DataError(f"A heat map must be an array of floats, but is of {array.dtype} instead; convert it.")
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise DataError(
                f"A heat map must be finite, but is {array[row, column]} in row {row}, column {column} instead; look "
                "at what made it."
            )
        object.__setattr__(self, "array", array)

    def to(self, frame: Frame, *, fill: float = 0.0) -> "HeatMap":
        """Return the map in another frame, bilinearly and in the same precision.

        It agrees with ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``.

        Args:
            frame: where to.
            fill: the value of what either frame shows as padding.

        Raises:
            FrameError: if ``frame`` shows another image, or has no pixels.
        """
        if frame == self.frame:
            return self
        _require_pixels(frame, name="heat map")
        values = resample_bilinear(self.array, source=self.frame, target=frame, fill=fill)
        return HeatMap(values.astype(self.array.dtype), frame=frame)

    def above(self, threshold: float) -> Mask:
        """Return the pixels whose value is greater than ``threshold``."""
        return Mask(self.array > threshold, frame=self.frame)


def _frozen_copy(array: NDArray[Any], *, frame: Frame, name: str) -> NDArray[Any]:
    """Return a copy that cannot be written to, if it fits the frame."""
    _require_pixels(frame, name=name)
    copy = np.array(array)
    if copy.shape != (frame.height, frame.width):
        raise ShapeError(
            f"A {name} must have the shape (height, width) of its frame, {(frame.height, frame.width)}, but has "
            f"{copy.shape} instead; its frame is {frame}."
        )
    copy.setflags(write=False)
    return copy


def _require_pixels(frame: Frame, *, name: str) -> None:
    if not frame.has_pixels:
        raise FrameError(f"A {name} needs a frame of pixels, but this is {frame}; take the frame that it came from.")
