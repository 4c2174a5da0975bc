"""What a fast-and-slow agent learns from, drawn: rooms with a glyph that is too small to see at a glance, or not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from vlmzoo.data.focus import FocusObject, focus_sample
from vlmzoo.data.hidden_glyphs import BELONGS, FURNITURE, GLYPH_COLORS, Glyph, Room, RoomRules, Size, draw_room
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.refusals import refusal_of
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame, Mask
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample, assistant, user

__all__ = ["ROLES", "HiddenGlyphsSource", "question_of", "room_options"]

_LIST = "List the things."
_LEVELS = 3
_CELLS = 4
_LEAST_SEEN_PX = 2.0
_NUM_OPTIONS = 4
_LOOSE = 0.35  # how far off the boxes of evidence may be, in sides of the target


@SOURCES.register(
    "hidden_glyphs",
    source="vlmzoo's own; roles of the models of V*, arXiv:2312.14135, and FaST, arXiv:2408.08862",
    tiny={"roles": {"fast": 1.0, "focus": 1.0, "locate": 1.0}, "size": 8},
)
class HiddenGlyphsSource:
    """Conversations of several roles about drawn rooms.

    ``fast`` asks for the colour of the target: of a large one it is told, of a tiny one the refusal says what is
    missing. ``focus`` asks the same with a crop of the target and its place. ``list`` asks for all that is large enough
    to see, cell by cell of a grid of 4 × 4, so that there is much to learn from each picture. ``locate`` looks for the
    target in a patch at one of three scales, ``furniture`` for a piece of furniture, ``cue`` asks where the target
    mostly is. ``ask`` is for evaluation: the colour whatever the size, with four options in ``meta``.

    Args:
        roles: weight of each role.
        tiny: share of tiny targets.
        view_px: side to which ``fast`` pictures are scaled down in the model; it decides nothing but is checked: a
            tiny target must be below 2 pixels there, a large one above.
        patch_px: side to which the patches of a search are scaled.
        rules: options of ``RoomRules``.
        seed: another seed gives other rooms.
        size: how many there are; None for no end.

    Raises:
        ConfigError: if a role is unknown, no weight is positive, or a number is out of range.
    """

    def __init__(
        self,
        *,
        roles: Mapping[str, float],
        tiny: float = 0.5,
        view_px: int = 64,
        patch_px: int = 96,
        rules: Mapping[str, Any] | None = None,
        seed: int = 0,
        size: int | None = None,
    ) -> None:
        for role, weight in roles.items():
            if role not in ROLES:
                raise ConfigError(f"`roles` takes no `{role}`.{nearest_hint(role, ROLES)} Known: {', '.join(ROLES)}.")
            if weight < 0:
                raise ConfigError(f"The weight of `{role}` must be zero or more, but is {weight} instead.")
        if not sum(roles.values()) > 0:
            raise ConfigError(f"`roles` must give at least one a positive weight, but is {dict(roles)} instead.")
        if not 0 <= tiny <= 1 or patch_px < 8 or (size is not None and size < 1):
            raise ConfigError(
                "`tiny` must be within [0, 1], `patch_px` at least 8 and `size` positive, but they are "
                f"{tiny}, {patch_px} and {size} instead."
            )
        self.rules = RoomRules(**dict(rules or {}))
        if self.rules.tiny[1] * view_px >= _LEAST_SEEN_PX or self.rules.large[0] * view_px < _LEAST_SEEN_PX:
            raise ConfigError(
                f"In a view of {view_px} pixels tiny targets must be below {_LEAST_SEEN_PX:g} pixels and large ones "
                f"above, but they are up to {self.rules.tiny[1] * view_px:.1f} and from "
                f"{self.rules.large[0] * view_px:.1f} on; change `view_px`, `rules.tiny` or `rules.large`."
            )
        self.roles, self.tiny, self.patch_px, self.seed = dict(roles), tiny, patch_px, seed
        self._size = size

    @property
    def size(self) -> int | None:
        """The number of conversations; None if there is no end."""
        return self._size

    def sample(self, position: int) -> Sample:
        """Draw the conversation at a position."""
        draws = Draws("hidden_glyphs_role", self.seed, position)
        role = _weighted(self.roles, draws.fraction())
        size: Size = "tiny" if draws.fraction() < self.tiny else "large"
        room = draw_room(self.rules, size, seed=self.seed, index=position)
        made = ROLES[role](self, room, draws)
        return replace(made, id=f"{role}/{room.name}")


def question_of(room: Room) -> str:
    """Return what is asked about a room."""
    return f"What colour is the {room.target.shape}?"


def room_options(room: Room, draws: Draws) -> list[str]:
    """Return four answers in random order, of which one is right."""
    others = [color for color in GLYPH_COLORS if color != room.target.color]
    return list(draws.distinct([room.target.color, *draws.distinct(others, _NUM_OPTIONS - 1)], _NUM_OPTIONS))


def _fast(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    said = refusal_of([room.target.shape]) if room.size == "tiny" else room.target.color
    asked = focus_sample(room.picture(), question_of(room))
    return replace(asked, messages=[*asked.messages, assistant(said)], reference=said)


def _ask(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    return Sample(
        messages=[user(question_of(room), num_images=1), assistant(room.target.color)],
        images=[room.picture()],
        reference=room.target.color,
        meta={"options": room_options(room, draws), "size": room.size, "boxes_xyxy_px": [list(room.box.xyxy)]},
    )


def _focus(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    found = FocusObject(room.target.shape, _loosened(room.box, draws))
    asked = focus_sample(room.picture(), question_of(room), [found])
    return replace(asked, messages=[*asked.messages, assistant(room.target.color)], reference=room.target.color)


def _list(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    seen = [(pebble, "pebble") for pebble in room.pebbles]
    seen += [(room.target, f"{room.target.color} {room.target.shape}")] if room.size == "large" else []
    told = sorted((*_cell(glyph, room), glyph.x_px, name) for glyph, name in seen)
    said = "\n".join(f"{row} {column} {what}" for row, column, _, what in told) or "nothing"
    return Sample(messages=[user(_LIST, num_images=1), assistant(said)], images=[room.picture()], reference=said)


def _cell(glyph: Glyph, room: Room) -> tuple[int, int]:
    """Return the row and the column of a thing, from 0."""
    return int(glyph.y_px / room.side_px * _CELLS), int(glyph.x_px / room.side_px * _CELLS)


def _locate(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    level = draws.integer(0, _LEVELS - 1)
    patch = _patch_of(room, level, draws)
    inside = room.box.to(patch)
    seen = inside.clipped().area / max(inside.area, 1e-9)
    is_large_enough = inside.width * source.patch_px / patch.width >= _LEAST_SEEN_PX
    boxes: list[Box] | None = [inside.clipped()] if seen >= 0.5 and is_large_enough else []
    mask = room.target_mask() if boxes else None
    if 0 < seen < 0.5 and is_large_enough:
        boxes = None  # a piece of it, which is neither there nor not
    return _patch_sample(source, room, patch, room.target.shape, boxes, mask)


def _look_for_furniture(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    name = list(FURNITURE)[draws.integer(0, len(FURNITURE) - 1)]
    patch = _patch_of(room, draws.integer(0, _LEVELS - 2), draws)
    array = np.zeros((room.side_px, room.side_px), dtype=bool)
    boxes = []
    for box in room.furniture_boxes(name):
        x0, y0, x1, y1 = (int(edge) for edge in box.xyxy)
        array[y0:y1, x0:x1] = True
        part = box.to(patch).clipped()
        boxes += [part] if part.area >= 0.02 * patch.width * patch.height else []
    return _patch_sample(source, room, patch, name, boxes, Mask(array, frame=room.frame))


def _cue(source: HiddenGlyphsSource, room: Room, draws: Draws) -> Sample:
    prompts = load_prompts("seal")["search"]
    name = room.target.shape
    said = f"The {name} is {prompts['cue_marker']} on the {BELONGS[name]}."
    patch = _patch_of(room, draws.integer(0, _LEVELS - 2), draws)
    asked = user(prompts["cue"].replace("{name}", name), num_images=1)
    return Sample(messages=[asked, assistant(said)], images=[_cut(source, room, patch)], reference=said)


ROLES: Mapping[str, Callable[[HiddenGlyphsSource, Room, Draws], Sample]] = {
    "fast": _fast,
    "ask": _ask,
    "focus": _focus,
    "list": _list,
    "locate": _locate,
    "furniture": _look_for_furniture,
    "cue": _cue,
}
"""What each role makes of a room."""


def _patch_of(room: Room, level: int, draws: Draws) -> Frame:
    """Draw a patch of a level; three in five hold the target."""
    number = 2**level
    tiles = room.frame.tiles(columns=number, rows=number) if level else [room.frame]
    if draws.fraction() < 0.6:
        side = room.side_px / number
        place = int(room.target.y_px // side) * number + int(room.target.x_px // side)
        return tiles[place]
    return tiles[draws.integer(0, len(tiles) - 1)]


def _cut(source: HiddenGlyphsSource, room: Room, patch: Frame) -> Image.Image:
    x0, y0, x1, y1 = (int(edge) for edge in Box.whole(patch).to(room.frame).rounded().xyxy)
    crop = room.picture().crop((x0, y0, x1, y1))
    return crop.resize((source.patch_px, source.patch_px), Image.Resampling.BICUBIC)


def _patch_sample(
    source: HiddenGlyphsSource, room: Room, patch: Frame, name: str, boxes: Sequence[Box] | None, mask: Mask | None
) -> Sample:
    """Return a question for a thing in a patch; boxes and mask move into the pixels of the scaled patch."""
    prompts = load_prompts("seal")["search"]
    side = source.patch_px
    shown = Frame.original(f"{room.name}/{patch.x.in_original(0)}/{patch.width}", width=side, height=side)
    scale = side / patch.width
    moved = None if boxes is None else [Box.from_xyxy([e * scale for e in box.xyxy], frame=shown) for box in boxes]
    array = np.zeros((side, side), dtype=bool)
    if mask is not None:
        x0, y0, x1, y1 = (int(edge) for edge in Box.whole(patch).to(room.frame).rounded().xyxy)
        part = Image.fromarray(mask.array[y0:y1, x0:x1].astype(np.uint8) * 255)
        array = np.asarray(part.resize((side, side), Image.Resampling.BILINEAR)) > 127
    return Sample(
        messages=[user(prompts["locate"].replace("{name}", name), num_images=1), assistant(prompts["located"])],
        images=[_cut(source, room, patch)],
        boxes=[moved],
        heat_masks=[None if moved is None else Mask(array, frame=shown)],
        reference=prompts["located"],
    )


def _loosened(box: Box, draws: Draws) -> Box:
    """Return a box as a search may find it: shifted and scaled a little."""
    x, y, width, height = box.cxcywh
    shift_x, shift_y = ((2 * draws.fraction() - 1) * _LOOSE * width for _ in range(2))
    factor = 0.8 + draws.fraction()
    side = max(box.frame.width, 1)
    x, y = min(max(x + shift_x, 1), side - 1), min(max(y + shift_y, 1), side - 1)
    return Box.from_cxcywh((x, y, width * factor, height * factor), frame=box.frame).clipped()


def _weighted(weights: Mapping[str, float], fraction: float) -> str:
    rest = fraction * sum(weights.values())
    for name, weight in weights.items():
        rest -= weight
        if rest < 0:
            return name
    return next(name for name, weight in weights.items() if weight > 0)
