"""Visual Analogy: find the relation that the examples share, and the option that continues the query by it."""

from collections.abc import Mapping
from typing import Any, get_args

from PIL.Image import Image

from vlmzoo.data.synthetic import KINDS, TASKS, ImageMode, Kind, Level
from vlmzoo.data.synthetic._analogy import AnalogyInstance
from vlmzoo.data.synthetic._analogy_image import AnalogyLook, AnalogyRenderer
from vlmzoo.data.synthetic._analogy_puzzle import draw_puzzle
from vlmzoo.data.synthetic._analogy_text import IMAGE_PREFIX, AnalogyWording, CotStyle
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._readout_task import check_choice
from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample, assistant, user

__all__ = ["AnalogyInstance", "VisualAnalogy"]

_NAME = "visual_analogy"
_LEVELS: tuple[Level, ...] = ("simple", "hard")


@TASKS.register(
    _NAME,
    source="S2H, arXiv:2501.02669, section 2 (Visual Analogy)",
    tiny={"image": {"panel_px": 56}},
)
class VisualAnalogy:
    """Draw puzzles of two examples, a query and four options, and ask which option continues the query.

    In an example, the values of one domain (such as the colours of shapes) in the third panel are the union, the
    intersection or the symmetric difference of those in the first two, or they progress from panel to panel. Each third
    panel and each option follows exactly one combination of domain and relation. Wrong options follow other relations.

    Level ``simple`` draws 17 of the 25 combinations, the same one for the examples and the query. ``hard`` draws the 8
    others; its two examples show the relation of the query in two different domains.

    Args:
        level: ``simple`` or ``hard``.
        same_direction: whether all progressions of one puzzle run the same way, e.g. from dark to light. The released
            generator means to do so and does not.
        image: options of ``AnalogyLook``; default: the authors' figure.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``. The authors'
            prompt of ``image`` and ``image_via_text`` is the same.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        *,
        level: Level = "simple",
        same_direction: bool = False,
        image: Mapping[str, Any] | AnalogyLook | None = None,
        distinct_prompts: bool = False,
    ) -> None:
        check_choice("level", level, _LEVELS)
        check_choice("same_direction", same_direction, (True, False))
        self.name, self.level, self.same_direction = _NAME, level, same_direction
        self.distinct_prompts = distinct_prompts
        self.wording = AnalogyWording()
        self.renderer = AnalogyRenderer(AnalogyLook.parse(image))

    def instance(self, seed: int, index: int) -> AnalogyInstance:
        """Draw one puzzle: a function of task, level, ``seed`` and ``index`` alone."""
        draws = Draws(self.name, self.level, seed, index)
        return draw_puzzle(draws, self.level, same_direction=self.same_direction)

    def text_form(self, instance: AnalogyInstance) -> str:
        """Return the puzzle in words, one line for each panel."""
        return self.wording.text_form(instance)

    def prompt(self, instance: AnalogyInstance, kind: Kind) -> str:
        r"""Return the question; it begins with the text form, or with ``<image>\n\n``.

        Raises:
            ConfigError: if there is no such kind.
        """
        check_choice("kind", kind, KINDS)
        return self.wording.prompt(instance, kind, distinct=self.distinct_prompts)

    def response(
        self,
        instance: AnalogyInstance,
        kind: Kind,
        *,
        cot: bool = True,
        keep: float = 1.0,
        cot_style: CotStyle = "standard",
    ) -> str:
        """Return the target: conversion (``image_via_text``), chain of thought (``cot``), and answer.

        Args:
            instance: what is asked about.
            kind: what is given and what is asked.
            cot: whether the chain is there.
            keep: share of it that is left, from its beginning, in characters: what is cut off, the model has
                internalised. 0 leaves nothing, as ``cot=False`` does.
            cot_style: ``standard``, or one of the authors' ablations: ``template``, ``order``, ``value``.

        Raises:
            ConfigError: if there is no such kind or style, or ``keep`` is not a share, or the chain that it or the
                style is about is not there.
        """
        check_choice("kind", kind, KINDS)
        check_choice("cot_style", cot_style, get_args(CotStyle))
        _check_chain(keep, cot_style, cot=cot)
        return self.wording.response(instance, kind, cot=cot, keep=keep, style=cot_style)

    def answer(self, instance: AnalogyInstance) -> str:
        """Return what changes in each example and option, and the number of the right option, as lines."""
        return self.wording.answer(instance)

    def image(self, instance: AnalogyInstance, *, mode: ImageMode = "RGB") -> Image:
        """Draw the puzzle; ``P`` is the same picture with a palette."""
        return self.renderer.draw(instance, mode=mode)

    def sample(
        self,
        kind: Kind,
        seed: int,
        index: int,
        *,
        cot: bool = True,
        keep: float = 1.0,
        cot_style: CotStyle = "standard",
    ) -> Sample:
        """Return one conversation; its image, if any, is drawn now.

        Raises:
            ConfigError: as ``response`` does.
        """
        instance = self.instance(seed, index)
        response = self.response(instance, kind, cot=cot, keep=keep, cot_style=cot_style)
        prompt, has_image = self.prompt(instance, kind), kind != "text"
        question = user(prompt.removeprefix(IMAGE_PREFIX.rstrip()) if has_image else prompt, num_images=int(has_image))
        return Sample(
            messages=(question, assistant(response)),
            images=(self.image(instance),) if has_image else (),
            id=f"{self.name}/{self.level}/{kind}/{seed}/{index}",
            reference=self.answer(instance),
            meta={"task": self.name, "level": self.level, "kind": kind, "seed": seed, "index": index},
        )


def _check_chain(keep: float, style: str, *, cot: bool) -> None:
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 <= keep <= 1:
        raise ConfigError(f"`keep` must be a share from 0 to 1, but is {keep!r} instead; 1 keeps the whole chain.")
    if not cot and (keep != 1 or style != "standard"):
        raise ConfigError(
            f"`keep` and `cot_style` must be left out with `cot=False`, but are {keep!r} and `{style}` instead: there "
            "is no chain."
        )
