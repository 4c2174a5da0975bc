"""Negative images without a generator: the picture that was asked about, blanked, blurred into noise, or cropped."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from PIL import Image

from vlmzoo.errors import ConfigError
from vlmzoo.services.negative_images import NEGATIVE_IMAGES, Rendered, RenderItem

__all__ = ["AlteredImages"]

_KINDS = ("blank", "noise", "crop")
_LARGEST_CROP = 0.2  # of the area: mDPO, arXiv:2406.11839, section 4


@NEGATIVE_IMAGES.register("altered", source="mDPO, arXiv:2406.11839, section 4 (crop)", tiny={})
class AlteredImages:
    """Baselines: what a targeted picture is compared with.

    Args:
        kind: ``blank`` (white), ``noise``, or ``crop``, at most a fifth of the picture.

    Raises:
        ConfigError: if the kind is unknown.
    """

    def __init__(self, *, kind: Literal["blank", "noise", "crop"] = "crop") -> None:
        if kind not in _KINDS:
            raise ConfigError(f"`kind` of altered images must be one of {', '.join(_KINDS)}, but is {kind!r} instead.")
        self.kind = kind

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its name and kind."""
        return {"images": "altered", "kind": self.kind}

    def check(self) -> None:
        """Nothing can be missing."""

    def render(self, items: Sequence[RenderItem]) -> list[Rendered]:
        """Alter pictures."""
        return [self._altered(item) for item in items]

    def _altered(self, item: RenderItem) -> Rendered:
        if item.positive is None:
            return Rendered(image=None, reason="there is no picture to alter")
        picture = item.positive.convert("RGB")
        draw = random.Random(item.seed)
        if self.kind == "blank":
            return Rendered(image=Image.new("RGB", picture.size, (255, 255, 255)))
        if self.kind == "noise":
            return Rendered(
                image=Image.frombytes("RGB", picture.size, draw.randbytes(3 * picture.width * picture.height))
            )
        scale = draw.uniform(0.05, _LARGEST_CROP) ** 0.5
        width, height = (max(1, round(side * scale)) for side in picture.size)
        left, top = draw.randint(0, picture.width - width), draw.randint(0, picture.height - height)
        return Rendered(image=picture.crop((left, top, left + width, top + height)).resize(picture.size))
