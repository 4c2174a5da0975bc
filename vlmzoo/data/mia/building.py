"""Multi-image questions made of single-image conversations: each a pure function of its number.

Source: MIA-DPO, arXiv:2410.17637, section 3, and gen_data of Liuziyu77/MIA-DPO@a85c51a; only the first question of a
conversation is taken, as the authors' selection does.

Letters: n images of a question.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.data.mia import IMAGE_TAG, LAYOUT_KINDS, LayoutKind
from vlmzoo.data.mia.pictures import (
    BoxXyxyPx,
    GridLayout,
    compose_grid,
    compose_pic_in_pic,
    grid_layout,
    inner_box,
)
from vlmzoo.data.mia.questions import PIC_IN_PIC_PHRASES, multi_image_questions
from vlmzoo.data.sources import Source
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import ImageLike, Message, Sample, assistant

__all__ = ["MiaBuilder", "MiaItem", "MiaPlan", "tagged_text", "tagged_user"]

_BOX = re.compile(r"\[\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?){3}\s*\]")
_MAX_TRIES = 1000
_PIC_IN_PIC = 2  # the asked image and its background
_REFUSED_AMONG = (2, 3, 4, 5)  # images that are there when another one is asked about


@dataclass(frozen=True, kw_only=True)
class MiaPlan:
    """How many questions of each layout are made.

    Args:
        layouts: ``{sequence: {2: 1200, 3: 350}, grid: {2: 4800}, pic_in_pic: {2: 4000}}``: questions by n.
        refusals: further questions about an image that is not there, which is to be said (released, not in the paper).
        companions: whether other images come from the ``folder`` of the asked one, or from ``all``.
        max_answer_chars: longer answers are left out (the authors' 512).
        tile_px: side of a grid's tile.
        margin_px: between tiles.
        seed: of all draws.

    Raises:
        ConfigError: if a layout or its number of images is unknown, or nothing is asked for.
    """

    layouts: Mapping[str, Mapping[int, int]]
    refusals: int = 0
    companions: Literal["folder", "all"] = "folder"
    max_answer_chars: int = 511
    tile_px: int = 448
    margin_px: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the layouts."""
        for kind, counts in self.layouts.items():
            if kind not in LAYOUT_KINDS:
                raise ConfigError(
                    f"`layouts` takes {', '.join(LAYOUT_KINDS)}, but has `{kind}`.{nearest_hint(kind, LAYOUT_KINDS)}"
                )
            for num_images in counts:
                if kind == "grid":
                    grid_layout(num_images)
                elif num_images < 2 or (kind == "pic_in_pic" and num_images != _PIC_IN_PIC):
                    raise ConfigError(
                        f"`layouts.{kind}` must be of 2 images{' or more' if kind == 'sequence' else ''}, but asks for "
                        f"{num_images} instead."
                    )
        if self.companions not in ("folder", "all"):
            raise ConfigError(f"`companions` must be folder or all, but is {self.companions!r} instead.")
        if len(self) < 1:
            raise ConfigError("`layouts` must ask for at least one question, but asks for none.")

    def __len__(self) -> int:
        """Return how many questions there are."""
        return sum(sum(counts.values()) for counts in self.layouts.values()) + self.refusals

    def kind_of(self, number: int) -> tuple[LayoutKind, int, bool]:
        """Return layout, n, and whether it is a refusal, of a question."""
        for kind in LAYOUT_KINDS:
            for num_images, count in sorted(self.layouts.get(kind, {}).items()):
                if number < count:
                    return kind, num_images, False
                number -= count
        return "sequence", _REFUSED_AMONG[number % len(_REFUSED_AMONG)], True

    def grid(self, num_images: int) -> GridLayout:
        """Return the tiles of a grid."""
        return grid_layout(num_images, tile_px=self.tile_px, margin_px=self.margin_px)


@dataclass(frozen=True, kw_only=True)
class MiaItem:
    """A question about one of several images.

    Args:
        id: unique.
        kind: how the images are laid out.
        num_images: n.
        target: the asked image, from 1; n + 1 for a refusal.
        sample: question and true answer, with what is shown.
        box: of the asked image within the picture that is shown, in pixels; None for a sequence.
        meta: where it came from.
    """

    id: str
    kind: LayoutKind
    num_images: int
    target: int
    sample: Sample
    box: BoxXyxyPx | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_refusal(self) -> bool:
        """Whether it asks about an image that is not there."""
        return self.kind == "sequence" and self.target > self.num_images


class MiaBuilder:
    """Makes the questions of a plan.

    Args:
        source: single-image conversations; it must have an end.
        plan: what is made.

    Raises:
        ConfigError: if the source has no end.
    """

    def __init__(self, source: Source, plan: MiaPlan) -> None:
        if source.size is None:
            raise ConfigError("The source of single-image conversations must have an end, but has none.")
        self.source, self.plan = source, plan
        self._size = source.size
        self._order = list(range(source.size))
        random.Random(f"mia/{plan.seed}").shuffle(self._order)

    def __len__(self) -> int:
        """Return how many questions there are."""
        return len(self.plan)

    def item(self, number: int) -> MiaItem:
        """Make one question.

        Raises:
            DataError: if no conversation fits, or there are too few other images.
        """
        kind, num_images, is_refusal = self.plan.kind_of(number)
        draw = random.Random(f"mia/{self.plan.seed}/{number}")
        position, base = self._base(number, kind)
        num_shown = num_images if is_refusal else num_images - 1
        companions = self._companions(position, base.images[0], num_shown, draw)
        others = [companion.images[0] for companion in companions]
        target = num_images + 1 if is_refusal else draw.randint(1, num_images)
        shown: list[ImageLike] = list(others)
        if not is_refusal:
            shown.insert(target - 1, base.images[0])
        question = tagged_text(base.messages[0])
        if kind == "pic_in_pic":
            phrase, target = draw.choice(PIC_IN_PIC_PHRASES), 1
            (text,) = multi_image_questions(kind, [question], phrase=phrase)
            images, box = _pic_in_pic(base.images[0], others[0])
        else:
            most = max(target, num_images)
            (text,) = multi_image_questions(kind, [question], num_images=most, target=target)
            images, box = (shown, None) if kind == "sequence" else self._grid(shown, target)
        if is_refusal:
            text = text.replace(f"Image{target}:{IMAGE_TAG}\n", "")
        answer = f"There is no Image{target}." if is_refusal else _answer_of(base)
        sample = Sample(messages=[tagged_user(text), assistant(answer)], images=images, id=f"mia-{number:07d}")
        meta: dict[str, Any] = {"source_id": base.id, "source_position": position}
        meta |= _known_answers(base, companions)
        return MiaItem(id=sample.id, kind=kind, num_images=num_images, target=target, sample=sample, box=box, meta=meta)

    def _base(self, number: int, kind: LayoutKind) -> tuple[int, Sample]:
        """Return the conversation that a question is made of, and its position."""
        for attempt in range(_MAX_TRIES):
            position = self._order[(number + attempt * max(1, len(self.plan))) % self._size]
            sample = self._usable(position, kind)
            if sample is not None:
                return position, sample
        raise DataError(
            f"{_MAX_TRIES} conversations in a row could not be asked in the layout {kind}: each needs one image, a "
            f"question, an answer of at most {self.plan.max_answer_chars} characters and, but for sequences, no box."
        )

    def _usable(self, position: int, kind: LayoutKind) -> Sample | None:
        try:
            sample = self.source.sample(position)
        except DataError:
            return None
        if len(sample.images) != 1 or [message["role"] for message in sample.messages[:2]] != ["user", "assistant"]:
            return None
        question, answer = tagged_text(sample.messages[0]).replace(IMAGE_TAG, "").strip(), _answer_of(sample)
        if not question or not answer.strip() or len(answer) > self.plan.max_answer_chars:
            return None
        has_box = any(_BOX.search(tagged_text(message)) for message in sample.messages)
        return None if has_box and kind != "sequence" else sample

    def _companions(self, position: int, asked: ImageLike, num: int, draw: random.Random) -> list[Sample]:
        """Draw conversations about other images, all distinct."""
        seen = {_key_of(asked, position)}
        found: list[Sample] = []
        for _ in range(_MAX_TRIES * max(1, num)):
            if len(found) == num:
                return found
            place = draw.randrange(self._size)
            try:
                other = self.source.sample(place)
            except DataError:
                continue
            images = other.images
            if len(images) != 1 or _key_of(images[0], place) in seen:
                continue
            if self.plan.companions == "folder" and _folder_of(images[0]) != _folder_of(asked):
                continue
            seen.add(_key_of(images[0], place))
            found.append(other)
        if len(found) == num:
            return found
        raise DataError(
            f"Conversation {position} needs {num} other images"
            f"{' of its folder' if self.plan.companions == 'folder' else ''}, but only {len(found)} were found; give "
            "more images, or draw them from everywhere with `companions: all`."
        )

    def _grid(self, shown: list[ImageLike], target: int) -> tuple[list[ImageLike], BoxXyxyPx]:
        layout = self.plan.grid(len(shown))
        pictures = [load_image(image) for image in shown]
        return [compose_grid(pictures, layout=layout)], layout.content_box(target - 1, pictures[target - 1].size)


def tagged_user(text: str) -> Message:
    """Return a user's turn with an image block for each tag."""
    content: list[dict[str, str]] = []
    for number, piece in enumerate(text.split(IMAGE_TAG)):
        content += [{"type": "image"}] if number else []
        content += [{"type": "text", "text": piece}] if piece else []
    return {"role": "user", "content": content}


def tagged_text(message: Message) -> str:
    """Return a turn as text, with a tag for each image block."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return "".join(IMAGE_TAG if block.get("type") == "image" else block["text"] for block in blocks)


def _pic_in_pic(asked: ImageLike, background: ImageLike) -> tuple[list[ImageLike], BoxXyxyPx]:
    inner, outer = load_image(asked), load_image(background)
    composed: Image.Image = compose_pic_in_pic(inner, outer)
    return [composed], inner_box(inner.size, outer.size)


def _known_answers(base: Sample, companions: Sequence[Sample]) -> dict[str, Any]:
    """Return what the other images would have answered, where their source tells (`shape_cards` does)."""
    asked = base.meta.get("asked")
    cards: list[Mapping[str, str]] = [other.meta.get("card", {}) for other in companions]
    return {"other_answers": [card[asked] for card in cards]} if asked and all(cards) else {}


def _answer_of(sample: Sample) -> str:
    return tagged_text(sample.messages[1])


def _key_of(image: ImageLike, position: int) -> str:
    return str(image) if isinstance(image, (str, Path)) else f"#{position}"


def _folder_of(image: ImageLike) -> str:
    return str(Path(image).parent) if isinstance(image, (str, Path)) else ""
