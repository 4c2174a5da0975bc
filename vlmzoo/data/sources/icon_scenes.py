"""Scenes of icons that mostly come in pairs, and captions that name a partner that is not there."""

import random
from collections.abc import Sequence

from vlmzoo.data.icons import ICONS, caption_of, draw_icons, partner_of
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample, assistant, user

__all__ = ["IconScenesSource"]

_QUESTION = "Describe this image."


@SOURCES.register(
    "icon_scenes",
    source="vlmzoo's own; OViP, arXiv:2505.15963, at small scale",
    tiny={"canvas_px": 28, "num_rows": 8},
)
class IconScenesSource:
    """Captions of scenes; ``reference`` is a right caption, and ``meta["objects"]`` is all that is there.

    Args:
        num_objects: the least and the largest number of icons.
        prior: how often the partner of the first icon stands in its scene.
        made_up: share of captions that name a partner that is not there.
        left_out: share of captions that leave out an icon that is.
        reference_left_out: share of icons that references leave out.
        canvas_px: side of a picture.
        num_rows: None for no end.
        seed: another seed gives other scenes.

    Raises:
        ConfigError: if a number is out of range.
    """

    def __init__(
        self,
        *,
        num_objects: Sequence[int] = (2, 4),
        prior: float = 0.8,
        made_up: float = 0.0,
        left_out: float = 0.0,
        reference_left_out: float = 0.0,
        canvas_px: int = 48,
        num_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        if len(num_objects) != 2 or not 1 <= num_objects[0] <= num_objects[1] <= 8:
            raise ConfigError(f"`num_objects` must be two numbers from 1 to 8, but is {list(num_objects)} instead.")
        shares = {"prior": prior, "made_up": made_up, "left_out": left_out, "reference_left_out": reference_left_out}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"`{name}` must be within [0, 1], but is {value} instead.")
        self.num_objects = (int(num_objects[0]), int(num_objects[1]))
        self.prior, self.made_up, self.left_out, self.reference_left_out = prior, made_up, left_out, reference_left_out
        self.canvas_px, self.seed = canvas_px, seed
        self.size: int | None = num_rows

    def sample(self, position: int) -> Sample:
        """Draw the scene at a position."""
        draw = random.Random(f"icon_scenes/{self.seed}/{position}")
        objects = self._objects(draw)
        told = self._told(objects, draw)
        kept = [icon for icon in objects if draw.random() >= self.reference_left_out] or objects[:1]
        return Sample(
            messages=[user(_QUESTION, num_images=1), assistant(caption_of(told))],
            images=[draw_icons(objects, canvas_px=self.canvas_px, seed=f"{self.seed}/{position}")],
            id=f"icons-{self.seed}-{position}",
            reference=caption_of(kept),
            meta={"objects": objects},
        )

    def _objects(self, draw: random.Random) -> list[str]:
        num = draw.randint(*self.num_objects)
        objects = [draw.choice(ICONS)]
        if num > 1 and draw.random() < self.prior:
            objects.append(partner_of(objects[0]))
        # the others' partners stay away, so that what a prior adds to them is wrong
        while len(objects) < num:
            others = [icon for icon in ICONS if icon not in objects and partner_of(icon) not in objects]
            if not others:
                break
            objects.append(draw.choice(others))
        return objects

    def _told(self, objects: Sequence[str], draw: random.Random) -> list[str]:
        told = list(objects)
        absent = [partner_of(icon) for icon in objects if partner_of(icon) not in objects]
        if absent and draw.random() < self.made_up:
            told.append(draw.choice(absent))
        if len(told) > 1 and draw.random() < self.left_out:
            told.remove(draw.choice(told))
        return told
