"""Pictures of two panels, and a question about the colour of one: who cannot see a side cannot answer for it."""

import random
from collections.abc import Mapping

from PIL import Image

from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample, assistant, user

__all__ = ["COLOURS", "ColourPanelsSource"]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 220),
    "yellow": (230, 210, 40),
    "violet": (150, 50, 190),
    "white": (240, 240, 240),
    "black": (20, 20, 20),
    "orange": (240, 140, 30),
}
"""Names of the colours, and where they lie in RGB."""

_SIDES = ("left", "right")
_JITTER = 12


@SOURCES.register("colour_panels", source="vlmzoo's own, for audits of what a model looks at", tiny={})
class ColourPanelsSource:
    """Endless questions such as ``Which colour is left?``; the two colours are drawn apart from one another.

    Args:
        sides: which of ``left`` and ``right`` are asked about.
        panel_px: side of a panel, in pixels; a picture is two panels wide and one high.
        seed: another seed gives other pictures.

    Raises:
        ConfigError: if a side is unknown, or none is given.
    """

    size: int | None = None

    def __init__(self, *, sides: tuple[str, ...] | list[str] = _SIDES, panel_px: int = 16, seed: int = 0) -> None:
        for side in sides:
            if side not in _SIDES:
                raise ConfigError(f"`sides` takes left and right, but has `{side}`.{nearest_hint(side, _SIDES)}")
        if not sides:
            raise ConfigError("`sides` must name a side to ask about, but names none.")
        self.sides = tuple(sides)
        self.panel_px = panel_px
        self.seed = seed

    def sample(self, position: int) -> Sample:
        """Draw the picture and the question at a position."""
        draw = random.Random(f"{self.seed}/{position}")
        colours = {side: draw.choice(sorted(COLOURS)) for side in _SIDES}
        picture = Image.new("RGB", (2 * self.panel_px, self.panel_px))
        for number, side in enumerate(_SIDES):
            shade = tuple(value + draw.randint(-_JITTER, _JITTER) for value in COLOURS[colours[side]])
            picture.paste(
                tuple(min(255, max(0, value)) for value in shade), (number * self.panel_px, 0, *self._end(number))
            )
        side = draw.choice(self.sides)
        return Sample(
            messages=[user(f"Which colour is {side}?", num_images=1), assistant(colours[side])],
            images=[picture],
            id=f"{self.seed}-{position}",
            reference=colours[side],
            meta={"side": side},
        )

    def _end(self, number: int) -> tuple[int, int]:
        return (number + 1) * self.panel_px, self.panel_px
