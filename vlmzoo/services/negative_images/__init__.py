"""Sources of negative images: pictures that show what the worse answer says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vlmzoo.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["NEGATIVE_IMAGES", "NegativeImageSource", "RenderItem", "Rendered"]


@dataclass(frozen=True, kw_only=True)
class RenderItem:
    """One picture that is wanted.

    Args:
        description: of what it shall show.
        positive: the picture that was asked about, for sources that change it.
        positive_digest: of that picture, for what is remembered.
        seed: of the drawing; the pair's own, so that no two pictures share their noise.
    """

    description: str
    positive: "Image | None" = None
    positive_digest: str = ""
    seed: int = 0

    def content(self) -> dict[str, Any]:
        """Return what decides the picture, as JSON values."""
        return {"description": self.description, "positive": self.positive_digest, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What came of it.

    Args:
        image: in RGB; None where there is none.
        reason: why there is none.
        cost: of the call.
    """

    image: "Image | None"
    reason: str = ""
    cost: float = 0.0


class NegativeImageSource(Protocol):
    """Makes pictures."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides a picture, beside the item, as JSON values."""
        ...

    def check(self) -> None:
        """See whether it can make pictures.

        Raises:
            ServiceError: if it cannot; with its address and what to do.
        """
        ...

    def render(self, items: Sequence[RenderItem]) -> list[Rendered]:
        """Make pictures, in order; never raises for what a service does."""
        ...


NEGATIVE_IMAGES: Registry[NegativeImageSource] = Registry("negative image source", "vlmzoo.services.negative_images")
