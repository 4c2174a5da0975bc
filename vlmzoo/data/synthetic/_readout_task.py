"""What the table tasks share, however their paths run: words, pictures, conversations, and the checks of options."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from PIL.Image import Image

from vlmzoo.data.synthetic import KINDS, ImageMode, Kind
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_image import TableRenderer
from vlmzoo.data.synthetic._table_look import TableLook
from vlmzoo.data.synthetic._table_text import IMAGE_PREFIX, TableStyle, TableWording, compact_wording, latex_wording
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample, assistant, user

__all__ = ["TableTask", "check_choice", "checked_range", "table_look"]

_COMPACT_CELL_PX = 32


class TableTask:
    """Shows and asks about tables that a subclass draws.

    Args:
        name: that the task is registered under, and its prompts in ``prompts/s2h.yaml``.
        level: of difficulty.
        style: ``latex``, the authors' words, or ``compact``.
        name_pools: draw rows' and columns' names from the first so many only.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``.

    Raises:
        ConfigError: if there is no such style, or a pool holds fewer names.
    """

    renderer: TableRenderer

    def __init__(
        self, name: str, *, level: str, style: TableStyle, name_pools: Sequence[int] | None, distinct_prompts: bool
    ) -> None:
        check_choice("style", style, get_args(TableStyle))
        self.name, self.level, self.distinct_prompts = name, level, distinct_prompts
        self.wording = latex_wording(name) if style == "latex" else compact_wording()
        if name_pools is not None:
            self.wording = self.wording.with_pools(*_checked_pools(name_pools, self.wording))

    def instance(self, seed: int, index: int) -> TableInstance:
        """Draw one table and its path: a function of task, level, ``seed`` and ``index`` alone."""
        raise NotImplementedError

    def text_form(self, instance: TableInstance) -> str:
        """Return the table in words, with a star behind each value on the path."""
        return self.wording.text_form(instance)

    def prompt(self, instance: TableInstance, kind: Kind) -> str:
        r"""Return the question; it begins with the text form, or with ``<image>\n\n``.

        Raises:
            ConfigError: if there is no such kind.
        """
        check_choice("kind", kind, KINDS)
        return self.wording.prompt(instance, kind, distinct=self.distinct_prompts)

    def response(self, instance: TableInstance, kind: Kind, *, cot: bool = True, keep: float = 1.0) -> str:
        """Return the target: conversion (``image_via_text``), enumeration (``cot``), total and answer.

        Args:
            instance: what is asked about.
            kind: what is given and what is asked.
            cot: whether the enumeration is there.
            keep: share of it that is left, from its beginning, in characters: what is cut off, the model has
                internalised. 0 leaves nothing, as ``cot=False`` does.

        Raises:
            ConfigError: if there is no such kind, or ``keep`` is not a share, or it is given without ``cot``.
        """
        check_choice("kind", kind, KINDS)
        _check_keep(keep, cot=cot)
        return self.wording.response(instance, kind, cot=cot, keep=keep)

    def answer(self, instance: TableInstance) -> str:
        """Return the values along the path, in order, with commas between them."""
        return ",".join(map(str, instance.addends))

    def image(self, instance: TableInstance, *, mode: ImageMode = "RGB") -> Image:
        """Draw the table; ``P`` is the same picture with a palette."""
        return self.renderer.draw(instance, mode=mode)

    def sample(self, kind: Kind, seed: int, index: int, *, cot: bool = True, keep: float = 1.0) -> Sample:
        """Return one conversation; its image, if any, is drawn now.

        Raises:
            ConfigError: as ``response`` does.
        """
        instance = self.instance(seed, index)
        prompt, response = self.prompt(instance, kind), self.response(instance, kind, cot=cot, keep=keep)
        has_image = kind != "text"
        question = user(prompt.removeprefix(IMAGE_PREFIX.rstrip()) if has_image else prompt, num_images=int(has_image))
        return Sample(
            messages=(question, assistant(response)),
            images=(self.image(instance),) if has_image else (),
            id=f"{self.name}/{self.level}/{kind}/{seed}/{index}",
            reference=self.answer(instance),
            meta={"task": self.name, "level": self.level, "kind": kind, "seed": seed, "index": index},
        )


def table_look(image: Mapping[str, Any] | TableLook | None, style: TableStyle) -> TableLook:
    """Read the look, with the defaults of the style.

    Raises:
        ConfigError: if an option is unknown, or a value is out of range.
    """
    if image is None:
        image = {}
    if style == "compact" and isinstance(image, Mapping) and not {"width", "height"} & set(image):
        image = {"cell_width": _COMPACT_CELL_PX, "cell_height": _COMPACT_CELL_PX, **image}
    return TableLook.parse(image)


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse what is not one of ``choices``, with the nearest one in the message.

    Raises:
        ConfigError: if it is not.
    """
    if value not in choices:
        hint = nearest_hint(str(value), [str(choice) for choice in choices])
        known = ", ".join([f"`{choice}`" for choice in choices])
        raise ConfigError(f"`{name}` must be one of {known}, but is {value!r} instead.{hint}")


def checked_range(name: str, value: int | Sequence[int], *, low: int, high: int, why: str) -> tuple[int, int]:
    """Read a count, or the least and the largest.

    Args:
        name: of the option.
        value: one integer, or two.
        low: the least that is possible.
        high: the largest that is possible.
        why: what sets the limits, for the message.

    Raises:
        ConfigError: if they are no integers, out of the limits, or out of order.
    """
    pair = [value, value] if isinstance(value, int) else value
    is_pair = isinstance(pair, list | tuple) and [type(item) for item in pair] == [int, int]
    if not is_pair or not low <= pair[0] <= pair[1] <= high:
        raise ConfigError(
            f"`{name}` must be an integer, or the least and the largest, from {low} to {high}, but is {value!r} "
            f"instead; {why}."
        )
    return pair[0], pair[1]


def _checked_pools(pools: Sequence[int], wording: TableWording) -> tuple[int, int]:
    limits = (len(wording.row_pool), len(wording.col_pool))
    is_pair = isinstance(pools, list | tuple) and [type(size) for size in pools] == [int, int]
    if not is_pair or not all(1 <= size <= limit for size, limit in zip(pools, limits, strict=True)):
        raise ConfigError(
            f"`name_pools` must be two sizes of at most {limits[0]} and {limits[1]}, but is {pools!r} instead."
        )
    return pools[0], pools[1]


def _check_keep(keep: float, *, cot: bool) -> None:
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 <= keep <= 1:
        raise ConfigError(f"`keep` must be a share from 0 to 1, but is {keep!r} instead; 1 keeps the whole chain.")
    if not cot and keep != 1:
        raise ConfigError(
            f"`keep` must be left out with `cot=False`, but is {keep!r} instead: there is no chain to cut."
        )
