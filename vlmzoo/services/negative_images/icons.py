"""Negative images drawn by a program: the icons that a description names, or others."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.data.icons import ICONS, draw_icons, icons_in
from vlmzoo.errors import ConfigError
from vlmzoo.services.negative_images import NEGATIVE_IMAGES, Rendered, RenderItem

__all__ = ["IconImages"]


@NEGATIVE_IMAGES.register("icons", source="vlmzoo's own; OViP, arXiv:2505.15963, at small scale", tiny={})
class IconImages:
    """Draws scenes of icons.

    Args:
        canvas_px: side of a picture; None takes the positive picture's.
        is_random: draw as many icons as are named, but any, which shows what aiming is worth.

    Raises:
        ConfigError: if the side is not positive.
    """

    def __init__(self, *, canvas_px: int | None = None, is_random: bool = False) -> None:
        if canvas_px is not None and canvas_px < 1:
            raise ConfigError(f"`canvas_px` must be positive or null, but is {canvas_px} instead.")
        self.canvas_px, self.is_random = canvas_px, is_random

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its options."""
        return {"images": "icons", "canvas_px": self.canvas_px, "is_random": self.is_random}

    def check(self) -> None:
        """Nothing can be missing."""

    def render(self, items: Sequence[RenderItem]) -> list[Rendered]:
        """Draw pictures."""
        return [self._drawn(item) for item in items]

    def _drawn(self, item: RenderItem) -> Rendered:
        named = icons_in(item.description)[:9]
        if not named:
            return Rendered(image=None, reason=f"no icon in {item.description[:60]!r}")
        shown = random.Random(item.seed).sample(ICONS, len(named)) if self.is_random else named
        side = self.canvas_px or (64 if item.positive is None else item.positive.width)
        return Rendered(image=draw_icons(shown, canvas_px=side, seed=item.seed))
