"""Boxes and points: numbers that know their frame."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from vlmzoo.errors import DataError
from vlmzoo.geometry._checks import checked_position
from vlmzoo.geometry.frames import Frame, axis_maps

__all__ = ["Box", "Point"]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle given by its edges, in units of its frame.

    It may leave its frame, as predictions do, and may have no area. What a model wrote with its corners swapped is no
    box: compare before building one.

    Args:
        frame: what the numbers count.
        x0: left edge.
        y0: upper edge.
        x1: right edge, not left of ``x0``.
        y1: lower edge, not above ``y0``.

    Raises:
        DataError: if an edge is not finite, or a pair of edges is reversed.
    """

    frame: Frame
    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        """Check the edges, and hold them as floats."""
        for name in ("x0", "y0", "x1", "y1"):
            object.__setattr__(self, name, checked_position(name, getattr(self, name)))
        for axis, low, high in (("x", self.x0, self.x1), ("y", self.y0, self.y1)):
            if high < low:
                raise DataError(
                    f"`{axis}1` must be at least `{axis}0`, but {axis}1 is {high} and {axis}0 is {low} instead; "
                    "check the order of the corners, and whether the numbers mean `from_xywh` or `from_cxcywh`."
                )

    @classmethod
    def from_xyxy(cls, values: Iterable[float], *, frame: Frame) -> Self:
        """Build a box from left, upper, right and lower edge, as Pascal VOC and Qwen2-VL write it."""
        x0, y0, x1, y1 = _four(values, format="x0, y0, x1, y1")
        return cls(frame=frame, x0=x0, y0=y0, x1=x1, y1=y1)

    @classmethod
    def from_xywh(cls, values: Iterable[float], *, frame: Frame) -> Self:
        """Build a box from left and upper edge, width and height, as COCO writes it."""
        x, y, width, height = _four(values, format="x, y, width, height")
        _check_extent(width, height)
        return cls(frame=frame, x0=x, y0=y, x1=x + width, y1=y + height)

    @classmethod
    def from_cxcywh(cls, values: Iterable[float], *, frame: Frame) -> Self:
        """Build a box from centre, width and height, as DETR and YOLO write it."""
        x, y, width, height = _four(values, format="centre x, centre y, width, height")
        _check_extent(width, height)
        return cls(frame=frame, x0=x - width / 2, y0=y - height / 2, x1=x + width / 2, y1=y + height / 2)

    @classmethod
    def whole(cls, frame: Frame) -> Self:
        """Return the box that covers a frame; ``Box.whole(tile).to(original)`` says where a tile lies."""
        return cls(frame=frame, x0=0, y0=0, x1=frame.width, y1=frame.height)

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, upper, right and lower edge."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """Left and upper edge, width and height."""
        return self.x0, self.y0, self.width, self.height

    @property
    def cxcywh(self) -> tuple[float, float, float, float]:
        """Centre, width and height."""
        return self.center.x, self.center.y, self.width, self.height

    @property
    def width(self) -> float:
        """Width, zero or more."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height, zero or more."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Area, in squared units of the frame."""
        return self.width * self.height

    @property
    def center(self) -> "Point":
        """The centre, in the same frame."""
        return Point(frame=self.frame, x=(self.x0 + self.x1) / 2, y=(self.y0 + self.y1) / 2)

    def to(self, frame: Frame) -> Self:
        """Return the same box of the image in another frame; it is not clipped.

        Raises:
            FrameError: if ``frame`` shows another image.
        """
        x, y = axis_maps(self.frame, frame)
        return replace(self, frame=frame, x0=x(self.x0), y0=y(self.y0), x1=x(self.x1), y1=y(self.y1))

    def clipped(self) -> Self:
        """Return what lies inside the frame; a box that lies outside becomes one without area on its border."""
        (x0, x1), (y0, y1) = (
            [min(max(edge, 0.0), float(size)) for edge in edges]
            for edges, size in (((self.x0, self.x1), self.frame.width), ((self.y0, self.y1), self.frame.height))
        )
        return replace(self, x0=x0, y0=y0, x1=x1, y1=y1)

    def rounded(self) -> Self:
        """Return the box with each edge at the nearest whole number, halves to even, as Pillow crops."""
        return replace(self, x0=round(self.x0), y0=round(self.y0), x1=round(self.x1), y1=round(self.y1))

    def outward(self) -> Self:
        """Return the smallest box with whole edges that holds this one."""
        return replace(
            self, x0=math.floor(self.x0), y0=math.floor(self.y0), x1=math.ceil(self.x1), y1=math.ceil(self.y1)
        )

    def __str__(self) -> str:
        """Write the edges and the frame."""
        return f"box ({', '.join(f'{edge:g}' for edge in self.xyxy)}) in {self.frame}"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A position, in units of its frame; the centre of the first pixel is (0.5, 0.5).

    Args:
        frame: what the numbers count.
        x: to the right.
        y: down.

    Raises:
        DataError: if a number is not finite.
    """

    frame: Frame
    x: float
    y: float

    def __post_init__(self) -> None:
        """Check the numbers, and hold them as floats."""
        for name in ("x", "y"):
            object.__setattr__(self, name, checked_position(name, getattr(self, name)))

    def to(self, frame: Frame) -> Self:
        """Return the same point of the image in another frame.

        Raises:
            FrameError: if ``frame`` shows another image.
        """
        x, y = axis_maps(self.frame, frame)
        return replace(self, frame=frame, x=x(self.x), y=y(self.y))

    def __str__(self) -> str:
        """Write the position and the frame."""
        return f"point ({self.x:g}, {self.y:g}) in {self.frame}"


def _four(values: Iterable[float], *, format: str) -> tuple[float, float, float, float]:
    numbers = [checked_position(f"value {number} of {format}", value) for number, value in enumerate(values)]
    if len(numbers) != 4:
        raise DataError(f"A box must have four numbers ({format}), but has {len(numbers)} instead: {numbers}.")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _check_extent(width: float, height: float) -> None:
    if width < 0 or height < 0:
        raise DataError(
            f"A box must have a width and a height of zero or more, but has {width} and {height} instead; check "
            "whether the numbers mean `from_xyxy`."
        )
