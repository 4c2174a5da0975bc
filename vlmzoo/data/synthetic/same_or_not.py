"""Same or not: two views, of one thing or of two that look alike, as TWIN asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from vlmzoo.data.synthetic import KINDS, TASKS, ImageMode, Kind
from vlmzoo.data.synthetic._checks import check_choice
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._views import (
    ATTRIBUTES,
    SHAPES,
    TEXTURES,
    Attribute,
    Instance,
    changed,
    draw_instance,
    draw_view,
)
from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample, assistant, user

__all__ = ["SameOrNot"]

_NAME = "same_or_not"
_SPLITS = ("train", "validation", "test")
_ASKS = ("pair", "count", "shape")
_QUESTIONS = {"pair": "same?", "count": "how many match?", "shape": "shape?"}

Negative: TypeAlias = Literal["easy", "hard"]


@dataclass(frozen=True, kw_only=True)
class _Views:
    """One question.

    Args:
        things: what the images show; the first is the reference.
        names: of the instances.
        key: of the views.
        answer: what is right.
        reference: what the reward compares with; by chance where labels are random.
        told: what a target says, which noise may have spoiled.
        negative: kind of the negatives; None where all images show one thing.
    """

    things: tuple[Instance, ...]
    names: tuple[str, ...]
    key: str
    answer: str
    reference: str
    told: str
    negative: Negative | None


@TASKS.register(
    _NAME,
    source="vlmzoo's own; the question is TWIN's, arXiv:2512.23592, the multi form FGVQA's",
    tiny={"canvas_px": 24, "num_instances": 8},
)
class SameOrNot:
    """Views of things with hue, shape, texture and size; are they views of one?

    A negative is ``easy``: another thing of the split; or ``hard``: it differs in exactly one attribute. No two splits
    share a thing, nor the things that differ from it.

    Args:
        split: ``train``, ``validation`` or ``test``.
        ask: ``pair`` (yes or no), ``count`` (a reference and three candidates, 0 to 3 match), or ``shape`` of one
            thing: another skill, which shows whether training keeps it.
        num_instances: of the split.
        negatives: weight of each kind of negative.
        attributes: in which things differ; the others are the same for all.
        hard_attributes: of which a hard negative changes one; default: all of ``attributes``.
        hue_step: how far the hue of a hard negative lies off, in turns, at least and at most.
        shapes: how many shapes there are at most; the last ones are left for tests of what was never seen.
        canvas_px: side of a view.
        yes_share: share of pairs of one thing; at 0.5 exactly one of the questions 2k and 2k + 1.
        wrong_target: share of training targets that say something else; references are never spoiled by it.
        random_reference: the control: references, but not answers, are thrown by a coin.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        *,
        split: Literal["train", "validation", "test"] = "train",
        ask: Literal["pair", "count", "shape"] = "pair",
        num_instances: int = 300,
        negatives: Mapping[str, float] | None = None,
        attributes: Sequence[Attribute] = ATTRIBUTES,
        hard_attributes: Sequence[Attribute] | None = None,
        hue_step: Sequence[float] = (0.15, 0.35),
        shapes: int = len(SHAPES),
        canvas_px: int = 32,
        yes_share: float = 0.5,
        wrong_target: float = 0.0,
        random_reference: bool = False,
    ) -> None:
        check_choice("split", split, _SPLITS)
        check_choice("ask", ask, _ASKS)
        self.name, self.level = _NAME, "simple"
        self.split, self.ask, self.num_instances, self.canvas_px = split, ask, num_instances, canvas_px
        self.negatives = dict(negatives or {"hard": 1.0})
        self.attributes = tuple(attributes)
        self.hard_attributes = tuple(hard_attributes or attributes)
        self.hue_step, self.shapes = (float(hue_step[0]), float(hue_step[-1])), shapes
        self.yes_share, self.wrong_target, self.random_reference = yes_share, wrong_target, random_reference
        self._check()

    @property
    def num_images(self) -> int:
        """How many images a question has."""
        return {"pair": 2, "count": 4, "shape": 1}[self.ask]

    def instance(self, seed: int, index: int) -> _Views:
        """Draw one question: a function of the options, ``seed`` and ``index`` alone."""
        draws = Draws(self.name, self.split, self.ask, seed, index)
        number = draws.integer(0, self.num_instances - 1)
        first, name = self._thing(number), f"{self.split}/{number}"
        negative = _drawn_kind(draws, self.negatives)
        if self.ask == "pair":
            flags = [self._is_same(draws, seed, index)]
            answer = "yes" if flags[0] else "no"
        else:
            count = draws.integer(0, 3)
            flags = list(draws.distinct([place < count for place in range(3)], 3)) if self.ask == "count" else []
            answer = str(count) if self.ask == "count" else SHAPES[first.shape]
        others = [(first, name) if is_same else self._other(draws, number, negative) for is_same in flags]
        shown = [(first, name), *others]
        if self.ask == "pair" and draws.coin():
            shown.reverse()
        choices = self._choices
        reference = choices[draws.integer(0, len(choices) - 1)] if self.random_reference else answer
        wrong = [choice for choice in choices if choice != answer]
        told = wrong[draws.integer(0, len(wrong) - 1)] if draws.fraction() < self.wrong_target else answer
        return _Views(
            things=tuple(thing for thing, _ in shown),
            names=tuple(name for _, name in shown),
            key=f"{seed}/{index}",
            answer=answer,
            reference=reference,
            told=told,
            negative=None if all(flags) else negative,
        )

    def text_form(self, instance: _Views) -> str:
        """Return a line for each image: what is seen in it."""
        lines = (
            f"hue {thing.hue:.2f}, {SHAPES[thing.shape]}, {TEXTURES[thing.texture]}, size {thing.size:.2f}"
            for thing in instance.things
        )
        return "\n".join(lines)

    def prompt(self, instance: _Views, kind: Kind) -> str:
        r"""Return the question; it begins with the text form, or with ``<image>\n`` for each image."""
        check_choice("kind", kind, KINDS)
        question = _QUESTIONS[self.ask]
        return f"{self.text_form(instance)}\n{question}" if kind == "text" else "<image>\n" * self.num_images + question

    def response(self, instance: _Views, kind: Kind, *, cot: bool = True) -> str:
        """Return the target; there is no chain of thought."""
        return f"<answer>{instance.told}</answer>"

    def answer(self, instance: _Views) -> str:
        """Return what rewards compare with."""
        return instance.reference

    def views(self, instance: _Views) -> list[Image.Image]:
        """Draw the images of a question."""
        return [
            draw_view(thing, Draws(self.name, "view", instance.key, place), canvas_px=self.canvas_px)
            for place, thing in enumerate(instance.things)
        ]

    def image(self, instance: _Views, *, mode: ImageMode = "RGB") -> Image.Image:
        """Draw all images of a question side by side; ``P`` is the same picture with a palette."""
        picture = Image.fromarray(np.hstack([np.asarray(view) for view in self.views(instance)]))
        palette = picture.quantize(256, dither=Image.Dither.NONE)
        return palette if mode == "P" else palette.convert("RGB")

    def sample(self, kind: Kind, seed: int, index: int, *, cot: bool = True) -> Sample:
        """Return question and target as a conversation, with images, reference and what the images show."""
        instance = self.instance(seed, index)
        has_images = kind != "text"
        question = self.prompt(instance, kind).removeprefix("<image>\n" * self.num_images if has_images else "")
        meta = {"task": self.name, "split": self.split, "instances": list(instance.names)}
        meta |= {"answer": instance.answer, "negative": instance.negative, "question_type": _TYPES[self.ask]}
        return Sample(
            messages=(
                user(question, num_images=self.num_images if has_images else 0),
                assistant(self.response(instance, kind, cot=cot)),
            ),
            images=tuple(self.views(instance)) if has_images else (),
            id=f"{self.name}/{self.split}/{self.ask}/{kind}/{seed}/{index}",
            reference=self.answer(instance),
            meta=meta,
        )

    @property
    def _choices(self) -> tuple[str, ...]:
        return {"pair": ("yes", "no"), "count": ("0", "1", "2", "3"), "shape": SHAPES[: self.shapes]}[self.ask]

    def _is_same(self, draws: Draws, seed: int, index: int) -> bool:
        """Say whether a pair is of one thing; at equal shares, one of each two questions is."""
        if self.yes_share == 0.5:
            return Draws(self.name, self.split, "order", seed, index // 2).coin() == bool(index % 2)
        return draws.fraction() < self.yes_share

    def _thing(self, number: int) -> Instance:
        thing = draw_instance(Draws(self.name, self.split, "thing", number), self.attributes)
        return thing if thing.shape < self.shapes else _reshaped(thing, self.shapes)

    def _other(self, draws: Draws, number: int, negative: Negative) -> tuple[Instance, str]:
        first = self._thing(number)
        if negative == "easy":
            other = (number + draws.integer(1, self.num_instances - 1)) % self.num_instances
            return self._thing(other), f"{self.split}/{other}"
        attribute = self.hard_attributes[draws.integer(0, len(self.hard_attributes) - 1)]
        return changed(first, attribute, draws, hue_step=self.hue_step), f"{self.split}/{number}, other {attribute}"

    def _check(self) -> None:
        for name in ("attributes", "hard_attributes"):
            for attribute in getattr(self, name):
                check_choice(name, attribute, ATTRIBUTES)
        if not self.attributes or not set(self.hard_attributes) <= set(self.attributes):
            raise ConfigError(
                f"`hard_attributes` must be some of `attributes`, {list(self.attributes)}, but are "
                f"{list(self.hard_attributes)} instead."
            )
        for kind in self.negatives:
            check_choice("negatives", kind, ("easy", "hard"))
        if not sum(self.negatives.values()) > 0 or min(self.negatives.values()) < 0:
            raise ConfigError(f"`negatives` must have weights of zero or more, some above, but are {self.negatives}.")
        if not 0 < self.hue_step[0] <= self.hue_step[1] <= 0.5:
            raise ConfigError(
                f"`hue_step` must be two growing numbers up to 0.5, but is {list(self.hue_step)} instead."
            )
        if self.num_instances < 2 or self.canvas_px < 8 or not 2 <= self.shapes <= len(SHAPES):
            raise ConfigError(
                f"`num_instances` must be 2 or more, `canvas_px` 8 or more, `shapes` from 2 to {len(SHAPES)}, but they "
                f"are {self.num_instances}, {self.canvas_px} and {self.shapes} instead."
            )
        if not 0 <= self.yes_share <= 1 or not 0 <= self.wrong_target <= 1:
            raise ConfigError(
                f"`yes_share` and `wrong_target` must be shares from 0 to 1, but are {self.yes_share} and "
                f"{self.wrong_target} instead."
            )


_TYPES = {"pair": "pairwise", "count": "multiple_choice", "shape": "shape"}


def _reshaped(thing: Instance, shapes: int) -> Instance:
    return Instance(hue=thing.hue, shape=thing.shape % shapes, texture=thing.texture, size=thing.size)


def _drawn_kind(draws: Draws, weights: Mapping[str, float]) -> Negative:
    easy, hard = weights.get("easy", 0.0), weights.get("hard", 0.0)
    return "easy" if draws.fraction() * (easy + hard) < easy else "hard"
