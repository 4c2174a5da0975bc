"""Cards with a coloured shape and a digit, asked about alone or among others: who looks at the wrong card is found out.

Letters: n images of a question.
"""

import random
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from vlmzoo.data.mia import LAYOUT_KINDS
from vlmzoo.data.mia.pictures import compose_grid, compose_pic_in_pic, grid_layout
from vlmzoo.data.mia.questions import PIC_IN_PIC_PHRASES, multi_image_questions
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._turns import Draft, compose
from vlmzoo.data.sources.colour_panels import COLOURS
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample

__all__ = ["SHAPES", "ShapeCardsSource"]

SHAPES = ("circle", "square", "triangle", "cross")
_LAYOUTS = ("single", *LAYOUT_KINDS)
_QUESTIONS = {"colour": "What colour is the shape?", "shape": "Which shape is it?", "digit": "Which digit is on it?"}
_BACKGROUNDS = ((170, 170, 178), (205, 205, 210), (200, 190, 170))
_INK = {"white": (20, 20, 20), "yellow": (20, 20, 20)}
_DIGITS = "0123456789"

Card = Mapping[str, str]
"""What is on a card, by what can be asked about it."""


@SOURCES.register(
    "shape_cards",
    source="MIA-DPO, arXiv:2410.17637: its three layouts, at small scale and with answers known beforehand",
    tiny={"layouts": {"sequence": 1.0}, "rejected": True, "card_px": 28},
)
class ShapeCardsSource:
    """Endless questions about one card; ``meta`` says what the other cards would have answered.

    Args:
        layouts: weight of ``single`` and of MIA-DPO's layouts ``sequence``, ``grid`` and ``pic_in_pic``.
        num_images: n that are drawn from for sequences.
        num_tiles: n that are drawn from for grids, of 2, 3, 4, 6 and 9.
        rejected: whether a worse answer comes along: what another card shows, where it shows something else.
        questions: what is asked about: ``colour``, ``shape``, ``digit``.
        digits: that stand on cards.
        jitter: how far shapes stand from the middle, as a fraction of what a card has room for.
        card_px: side of a card, in pixels.
        tile_px: side of a grid's tile, in pixels.
        num_rows: None for no end; a number makes it a data set of so many.
        seed: another seed gives other cards.

    Raises:
        ConfigError: if a layout or a number of images is unknown, or no weight is positive.
    """

    def __init__(
        self,
        *,
        layouts: Mapping[str, float] | None = None,
        num_images: tuple[int, ...] | list[int] = (2, 3, 4),
        num_tiles: tuple[int, ...] | list[int] = (2, 3, 4),
        rejected: bool = False,
        questions: tuple[str, ...] | list[str] = tuple(_QUESTIONS),
        digits: str = _DIGITS,
        jitter: float = 1.0,
        card_px: int = 56,
        tile_px: int = 26,
        num_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        weights = dict(layouts or {"single": 1.0})
        for name in weights:
            if name not in _LAYOUTS:
                raise ConfigError(f"`layouts` takes no `{name}`.{nearest_hint(name, _LAYOUTS)}")
        if not sum(weights.values()) > 0 or min(weights.values()) < 0:
            raise ConfigError(f"`layouts` must give weights, one of them positive, but is {weights} instead.")
        for number in num_tiles:
            grid_layout(number)
        if min(num_images, default=0) < 2:
            raise ConfigError(f"`num_images` must hold numbers from 2 on, but is {list(num_images)} instead.")
        if not digits or set(digits) - set(_DIGITS) or not 0 <= jitter <= 1:
            raise ConfigError(
                f"`digits` must be some of {_DIGITS} and `jitter` lie in [0, 1], but they are {digits!r} and {jitter}."
            )
        for asked in questions:
            if asked not in _QUESTIONS:
                raise ConfigError(f"`questions` takes no `{asked}`.{nearest_hint(asked, _QUESTIONS)}")
        if not questions:
            raise ConfigError(f"`questions` must name some of {', '.join(_QUESTIONS)}, but names none.")
        self.questions = tuple(questions)
        self.digits, self.jitter = digits, jitter
        self.layouts, self.num_images, self.num_tiles = weights, tuple(num_images), tuple(num_tiles)
        self.rejected, self.card_px, self.tile_px = rejected, card_px, tile_px
        self.size: int | None = num_rows
        self.seed = seed

    def sample(self, position: int) -> Sample:
        """Draw the cards and the question at a position."""
        draw = random.Random(f"shape_cards/{self.seed}/{position}")
        (layout,) = draw.choices(list(self.layouts), weights=list(self.layouts.values()))
        counts = {"single": (1,), "sequence": self.num_images, "grid": self.num_tiles, "pic_in_pic": (2,)}
        num = draw.choice(counts[layout])
        cards = [_draw_card(draw, self.digits) for _ in range(num)]
        target = draw.randrange(num)
        asked = draw.choice(self.questions)
        answers = [card[asked] for card in cards]
        pictures = [draw_card(card, side_px=self.card_px, jitter=self.jitter, seed=draw.random()) for card in cards]
        images, question = self._laid_out(layout, pictures, target, asked, draw)
        messages, shown = compose(
            Draft(turns=[("user", question), ("assistant", answers[target].capitalize() + ".")], images=images)
        )
        return Sample(
            messages=messages,
            images=shown,
            id=f"{self.seed}-{position}",
            reference=answers[target].capitalize() + ".",
            rejected=_worse(answers, target, asked, draw) if self.rejected else None,
            meta={
                "layout": layout,
                "num_images": num,
                "target": target + 1,
                "asked": asked,
                "answers": answers,
                "card": cards[target],
            },
        )

    def _laid_out(
        self, layout: str, pictures: list[Image.Image], target: int, asked: str, draw: random.Random
    ) -> tuple[list[Image.Image], str]:
        """Return what is shown, and the question with its marks."""
        question = f"<image>\n{_QUESTIONS[asked]}"
        if layout == "single":
            return pictures, question
        if layout == "sequence":
            made = multi_image_questions("sequence", [question], num_images=len(pictures), target=target + 1)
            return pictures, made[0]
        if layout == "grid":
            tiles = grid_layout(len(pictures), tile_px=self.tile_px, margin_px=max(1, self.tile_px // 11))
            made = multi_image_questions("grid", [question], num_images=len(pictures), target=target + 1)
            return [compose_grid(pictures, layout=tiles)], made[0]
        phrase = draw.choice(PIC_IN_PIC_PHRASES)
        shown = compose_pic_in_pic(pictures[target], pictures[1 - target])
        return [shown], multi_image_questions("pic_in_pic", [question], phrase=phrase)[0]


def draw_card(card: Card, *, side_px: int, jitter: float, seed: float) -> Image.Image:
    """Draw a card: a shape near the middle, and a digit on it."""
    draw = random.Random(seed)
    side = side_px
    picture = Image.new("RGB", (side, side), draw.choice(_BACKGROUNDS))
    pen = ImageDraw.Draw(picture)
    radius = side * draw.uniform(0.36, 0.44)
    x, y = (side / 2 + jitter * draw.uniform(-1, 1) * (side / 2 - radius) for _ in range(2))
    fill = COLOURS[card["colour"]]
    box = (x - radius, y - radius, x + radius, y + radius)
    if card["shape"] == "circle":
        pen.ellipse(box, fill=fill)
    elif card["shape"] == "square":
        pen.rectangle((x - 0.85 * radius, y - 0.85 * radius, x + 0.85 * radius, y + 0.85 * radius), fill=fill)
    elif card["shape"] == "triangle":
        pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=fill)
    else:
        pen.rectangle((x - radius, y - 0.42 * radius, x + radius, y + 0.42 * radius), fill=fill)
        pen.rectangle((x - 0.42 * radius, y - radius, x + 0.42 * radius, y + radius), fill=fill)
    ink = _INK.get(card["colour"], (255, 255, 255))
    pen.text((x, y + 0.1 * radius), card["digit"], fill=ink, font=_font(round(0.95 * radius)), anchor="mm")
    return picture


def _draw_card(draw: random.Random, digits: str) -> Card:
    return {"colour": draw.choice(sorted(COLOURS)), "shape": draw.choice(SHAPES), "digit": draw.choice(digits)}


def _worse(answers: list[str], target: int, asked: str, draw: random.Random) -> str:
    """Return what another card shows, or where all show the same, something that none does."""
    others = [answer for answer in answers if answer != answers[target]]
    known = {"colour": sorted(COLOURS), "shape": SHAPES, "digit": _DIGITS}[asked]
    others = others or [value for value in known if value != answers[target]]
    return draw.choice(others).capitalize() + "."


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    data = files("vlmzoo.data").joinpath("fonts").joinpath("DejaVuSans-Bold.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(data), max(1, size_px))
