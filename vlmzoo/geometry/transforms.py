"""The way from one frame to another, as a value that can be handed on, inverted and continued."""

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from vlmzoo.errors import FrameError
from vlmzoo.geometry.frames import Frame, axis_maps, require_same_frame

__all__ = ["Transform"]


class _Framed(Protocol):
    """A box, a point, a mask or a heat map."""

    @property
    def frame(self) -> Frame: ...

    def to(self, frame: Frame) -> Self: ...


V = TypeVar("V", bound=_Framed)


@dataclass(frozen=True, kw_only=True)
class Transform:
    """The axis-aligned affine map between two frames of one image.

    ``transform(box)`` is ``box.to(transform.target)`` for boxes of ``transform.source`` and refuses all others. The
    map is exact, so ``transform.then(transform.inverse())`` is the identity and not nearly so.

    Args:
        source: the frame of what goes in.
        target: the frame of what comes out.

    Raises:
        FrameError: if the two show different images.
    """

    source: Frame
    target: Frame

    def __post_init__(self) -> None:
        """Refuse frames of two images."""
        axis_maps(self.source, self.target)

    @property
    def scale(self) -> tuple[float, float]:
        """Units of the target per unit of the source, along x and y."""
        x, y = axis_maps(self.source, self.target)
        return float(x.scale), float(y.scale)

    @property
    def shift(self) -> tuple[float, float]:
        """Where the upper left corner of the source stands in the target: ``target = scale * source + shift``."""
        x, y = axis_maps(self.source, self.target)
        return float(x.shift), float(y.shift)

    def __call__(self, value: V) -> V:
        """Take a box, a point, a mask (nearest pixel) or a heat map (bilinear) to the target.

        Raises:
            FrameError: if the value does not stand in the source.
        """
        require_same_frame(value.frame, self.source, what="What a transform takes")
        return value.to(self.target)

    def then(self, following: "Transform") -> "Transform":
        """Return this transform continued by another.

        Raises:
            FrameError: if the other does not start where this one ends.
        """
        if following.source != self.target:
            raise FrameError(
                f"The second transform must start from {self.target}, but starts from {following.source} instead; put "
                "the missing step between them."
            )
        return Transform(source=self.source, target=following.target)

    def inverse(self) -> "Transform":
        """Return the way back."""
        return Transform(source=self.target, target=self.source)
