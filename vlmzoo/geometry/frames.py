"""Frames: what the numbers of a box, a point or a mask count.

x runs to the right and y down, both from the top left corner. Positions are edges and not indices: the pixel in
column c and row r covers ``[c, c + 1) × [r, r + 1)``, and its centre is ``(c + 0.5, r + 0.5)``.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from vlmzoo.errors import DataError, FrameError
from vlmzoo.geometry._axis import Axis, AxisMap
from vlmzoo.geometry._checks import checked_size

if TYPE_CHECKING:
    from vlmzoo.geometry.boxes import Box

__all__ = ["Align", "Frame", "FrameKind", "axis_maps", "require_same_frame"]

FrameKind: TypeAlias = Literal["original", "resized", "padded", "crop", "unit", "norm999", "norm1000"]
Align: TypeAlias = Literal["center", "top_left"]

_FRACTIONS: dict[FrameKind, int] = {"unit": 1, "norm999": 999, "norm1000": 1000}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The pixels of an image, or of what was made out of it by resizing, padding and cropping.

    A frame is made by ``Frame.original`` and the methods below; each remembers its exact map from the original. So any
    two frames of an image know the way to one another, ``box.to(frame)`` takes it, and a processor records what it did
    by keeping its last frame. Two frames are equal where image, kind, size and map are: a box of a resized image is
    refused as one of the original even where the resize happened to change nothing, so that a missing conversion
    fails on every image.

    Args:
        image: what the image is called; two images must not share a name.
        kind: the last step on the way from the original.
        x: the horizontal side.
        y: the vertical side.
    """

    image: str
    kind: FrameKind
    x: Axis
    y: Axis

    @classmethod
    def original(cls, image: str, *, width: int, height: int) -> Self:
        """Return the frame of an image as it was read.

        Args:
            image: a path, or the id of the sample and the number of the image in it.
            width: in pixels.
            height: in pixels.

        Raises:
            DataError: if the name is empty, or a size is no positive whole number.
        """
        if not image:
            raise DataError("`image` must name the image, but is empty instead; its path or sample id will do.")
        width, height = checked_size("width", width), checked_size("height", height)
        return cls(image=image, kind="original", x=Axis.whole(width), y=Axis.whole(height))

    @property
    def width(self) -> int:
        """Width, in units of this frame."""
        return self.x.size

    @property
    def height(self) -> int:
        """Height, in units of this frame."""
        return self.y.size

    @property
    def has_pixels(self) -> bool:
        """Whether the units are pixels, which can be resized, cropped and masked."""
        return self.kind not in _FRACTIONS

    @property
    def unit(self) -> Self:
        """Fractions of this frame, 0 to 1."""
        return self._normalised("unit")

    @property
    def norm1000(self) -> Self:
        """Thousandths of this frame, 0 to 1000: the convention of Qwen2-VL, arXiv:2409.12191."""
        return self._normalised("norm1000")

    @property
    def norm999(self) -> Self:
        """Steps 0 to 999 across this frame: the convention of DeepSeek-VL2, arXiv:2412.10302."""
        return self._normalised("norm999")

    def resized(self, *, width: int, height: int) -> Self:
        """Return the frame after a resize; the sides may change by different factors.

        Raises:
            DataError: if a size is no positive whole number.
            FrameError: if this frame has no pixels.
        """
        self._require_pixels("resized")
        width, height = checked_size("width", width), checked_size("height", height)
        return replace(self, kind="resized", x=self.x.resized(width), y=self.y.resized(height))

    def resized_to_longest_side(self, size: int) -> Self:
        """Return the frame after a resize that makes the longest side ``size`` pixels.

        Source: Segment Anything, arXiv:2304.02643; sizes are rounded half up in floating point, as its code does.

        Raises:
            DataError: if ``size`` is no positive whole number, or so small that the other side vanishes.
            FrameError: if this frame has no pixels.
        """
        scale = checked_size("size", size) / max(self.width, self.height)
        width, height = (math.floor(side * scale + 0.5) for side in (self.width, self.height))
        if min(width, height) < 1:
            raise DataError(
                f"`size` must leave both sides at least one pixel, but {size} makes {width}×{height} of {self}; "
                "leave out so narrow an image, or crop it first."
            )
        return self.resized(width=width, height=height)

    def padded(self, *, width: int, height: int, align: Align) -> Self:
        """Return the frame after padding to a size.

        Args:
            width: of the result, in pixels.
            height: of the result, in pixels.
            align: where the image stands in the result: ``center`` (an odd pixel goes to the right or below, as in
                LLaVA-1.5) or ``top_left`` (as in SAM).

        Raises:
            DataError: if the result would be smaller than this frame, or ``align`` is neither.
            FrameError: if this frame has no pixels.
        """
        self._require_pixels("padded")
        if align not in ("center", "top_left"):
            raise DataError(f"`align` must be `center` or `top_left`, but is {align!r} instead.")
        rest_x, rest_y = checked_size("width", width) - self.width, checked_size("height", height) - self.height
        if rest_x < 0 or rest_y < 0:
            raise DataError(
                f"Padding must not shrink {self}, but {width}×{height} would; resize it first, or use `cropped`."
            )
        left, top = (rest_x // 2, rest_y // 2) if align == "center" else (0, 0)
        return replace(self, kind="padded", x=self.x.padded(width, before=left), y=self.y.padded(height, before=top))

    def padded_to_square(self, *, align: Align) -> Self:
        """Return the frame after padding the shorter side to the longer one.

        Source: LLaVA-1.5, arXiv:2310.03744, for ``center``; SEAL, arXiv:2312.14135, for ``top_left``.
        """
        side = max(self.width, self.height)
        return self.padded(width=side, height=side, align=align)

    def cropped(self, box: "Box") -> Self:
        """Return the frame of the pixels inside a box of this frame.

        Raises:
            DataError: if an edge is no whole number, or the box leaves this frame or holds no pixel.
            FrameError: if the box stands in another frame, or this frame has no pixels.
        """
        self._require_pixels("cropped")
        require_same_frame(box.frame, self, what="The box of a crop")
        if not all(edge.is_integer() for edge in box.xyxy):
            raise DataError(
                f"A crop must have whole edges, but has {box.xyxy} instead; take `box.rounded()` or `box.outward()`."
            )
        x0, y0, x1, y1 = (int(edge) for edge in box.xyxy)
        if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
            raise DataError(
                f"A crop must hold a pixel and stay inside {self}, but is {box.xyxy} instead; cut it with "
                "`box.clipped()`, and leave it out if nothing is left."
            )
        return replace(self, kind="crop", x=self.x.cropped(x0, x1), y=self.y.cropped(y0, y1))

    def tiles(self, *, columns: int, rows: int) -> list[Self]:
        """Cut this frame into a grid, row by row from the top left; the last column and row take the remainder.

        Source: SEAL, arXiv:2312.14135, the sub-images of the visual search.

        Raises:
            DataError: if there are more columns or rows than pixels.
            FrameError: if this frame has no pixels.
        """
        self._require_pixels("cut into tiles")
        xs = _cuts(self.width, num=checked_size("columns", columns))
        ys = _cuts(self.height, num=checked_size("rows", rows))
        return [
            replace(self, kind="crop", x=self.x.cropped(*x), y=self.y.cropped(*y))
            for y in pairwise(ys)
            for x in pairwise(xs)
        ]

    def _normalised(self, kind: FrameKind) -> Self:
        self._require_pixels("normalised")
        size = _FRACTIONS[kind]
        return replace(self, kind=kind, x=self.x.resized(size), y=self.y.resized(size))

    def _require_pixels(self, verb: str) -> None:
        if not self.has_pixels:
            raise FrameError(f"Only pixels can be {verb}, but this is {self}; start from the pixel frame it came from.")

    def __str__(self) -> str:
        """Name the frame in a message: kind, size, image, and where it stands in the original."""
        name = f"the {self.kind} frame {self.width}×{self.height} of `{self.image}`"
        if self.kind == "original":
            return name
        (left, right), (top, bottom) = (
            [float(side.in_original(end)) for end in (0, side.size)] for side in (self.x, self.y)
        )
        whole = f"{self.x.original}×{self.y.original}"
        return f"{name} (x {left:g} to {right:g}, y {top:g} to {bottom:g} of {whole} original pixels)"


def axis_maps(source: Frame, target: Frame) -> tuple[AxisMap, AxisMap]:
    """Return the horizontal and the vertical map from one frame to another.

    Raises:
        FrameError: if they show different images.
    """
    if not _is_same_image(source, target):
        raise FrameError(f"There is no way from {source} to {target}: {_why_different(source, target)}")
    return AxisMap.between(source.x, target.x), AxisMap.between(source.y, target.y)


def require_same_frame(found: Frame, expected: Frame, *, what: str) -> None:
    """Refuse a value of another frame.

    Args:
        found: where the value stands.
        expected: where it should stand.
        what: the value, as the start of a sentence.

    Raises:
        FrameError: if the two differ; it names both, and the way out.
    """
    if found == expected:
        return
    way_out = "convert it with `.to(frame)`." if _is_same_image(found, expected) else _why_different(found, expected)
    raise FrameError(f"{what} must stand in {expected}, but stands in {found} instead; {way_out}")


def _is_same_image(one: Frame, other: Frame) -> bool:
    return (one.image, one.x.original, one.y.original) == (other.image, other.x.original, other.y.original)


def _why_different(one: Frame, other: Frame) -> str:
    if one.image != other.image:
        return "these are two images; look where samples were mixed up."
    sizes = " and ".join(f"{frame.x.original}×{frame.y.original}" for frame in (one, other))
    return f"two images of {sizes} pixels share this name; give each its own in `Frame.original`."


def _cuts(length: int, *, num: int) -> list[int]:
    """Return the num + 1 edges of equal pieces, the last of which takes the remainder."""
    if num > length:
        raise DataError(f"A side of {length} pixels can be cut into at most {length} tiles, but {num} were asked for.")
    return [*(length // num * index for index in range(num)), length]
