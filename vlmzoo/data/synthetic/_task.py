"""What all tasks share, whatever they draw: prompts, targets, pictures and conversations."""

from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from PIL.Image import Image

from vlmzoo.data.synthetic import KINDS, ImageMode, Kind
from vlmzoo.data.synthetic._checks import check_chain, check_choice
from vlmzoo.data.synthetic._wording import IMAGE_PREFIX, CotStyle, Wording
from vlmzoo.types import Sample, assistant, user

__all__ = ["COMPATS", "Compat", "DrawnTask"]

Compat: TypeAlias = Literal["s2h"] | None
"""``s2h`` keeps the faults of the released code; each task says which."""
COMPATS: tuple[Compat, ...] = ("s2h", None)

InstanceT = TypeVar("InstanceT")


class _Renderer(Protocol):
    def draw(self, instance: Any, /, *, mode: ImageMode = "RGB") -> Image: ...


class DrawnTask(Generic[InstanceT]):
    """Shows and asks about what a subclass draws, in the subclass's words and by its renderer.

    Args:
        name: that the task is registered under.
        level: of difficulty.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``.

    Raises:
        ConfigError: if ``distinct_prompts`` is not a truth value.
    """

    cot_styles: ClassVar[tuple[CotStyle, ...]]
    wording: Wording[InstanceT]
    renderer: _Renderer

    def __init__(self, name: str, *, level: str, distinct_prompts: bool) -> None:
        check_choice("distinct_prompts", distinct_prompts, (True, False))
        self.name, self.level, self.distinct_prompts = name, level, distinct_prompts

    def instance(self, seed: int, index: int) -> InstanceT:
        """Draw one instance: a function of task, level, ``seed`` and ``index`` alone."""
        raise NotImplementedError

    def answer(self, instance: InstanceT) -> str:
        """Return what a score compares a completion with."""
        raise NotImplementedError

    def text_form(self, instance: InstanceT) -> str:
        """Return the text with the same content as the image."""
        return self.wording.text_form(instance)

    def prompt(self, instance: InstanceT, kind: Kind) -> str:
        r"""Return the question; it begins with the text form, or with ``<image>\n\n``.

        Raises:
            ConfigError: if there is no such kind.
        """
        check_choice("kind", kind, KINDS)
        return self.wording.prompt(instance, kind, distinct=self.distinct_prompts)

    def response(
        self,
        instance: InstanceT,
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
            cot_style: one of the task's ``cot_styles``.

        Raises:
            ConfigError: if there is no such kind or style, ``keep`` is not a share, or the chain that it or the style
                is about is not there.
        """
        check_choice("kind", kind, KINDS)
        check_chain(cot=cot, keep=keep, cot_style=cot_style, cot_styles=self.cot_styles)
        return self.wording.response(instance, kind, cot=cot, keep=keep, style=cot_style)

    def image(self, instance: InstanceT, *, mode: ImageMode = "RGB") -> Image:
        """Draw the instance; ``P`` is the same picture with a palette."""
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
