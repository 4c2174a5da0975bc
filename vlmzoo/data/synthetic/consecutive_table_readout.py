"""Consecutive Table Readout: add the highlighted values of a table, along a path that runs line by line."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from PIL.Image import Image

from vlmzoo.data.synthetic import KINDS, TASKS, ImageMode, Kind, Level
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_image import TableRenderer
from vlmzoo.data.synthetic._table_look import TableLook
from vlmzoo.data.synthetic._table_text import (
    IMAGE_PREFIX,
    TableStyle,
    TableWording,
    compact_wording,
    latex_wording,
)
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample, assistant, user

__all__ = ["ConsecutiveTableReadout", "TableInstance"]

_NAME = "consecutive_table_readout"
_PATH_CELLS: Mapping[str, tuple[int, int]] = {"simple": (5, 10), "medium": (15, 20), "hard": (25, 30)}
_COMPACT_CELL_PX = 32
_S2H_INCREMENT = (5, 9)  # cells after the first, in the released generator, at every level


@TASKS.register(
    _NAME,
    source="S2H, arXiv:2501.02669, section 2 (Consecutive Table Readout)",
    tiny={
        "style": "compact",
        "num_rows": 2,
        "num_cols": 3,
        "path_cells": [2, 4],
        "image": {"cell_width": 32, "cell_height": 32},
    },
)
class ConsecutiveTableReadout:
    """Draw tables, and ask for the total along a path of consecutive cells.

    Letters: R rows, C columns.

    The path takes consecutive cells in reading order (after the last column comes the first of the next row), and runs
    backwards with probability 1/2. Names are distinct, values uniform from 0 to 9.

    Style ``compact`` is ours, not the paper's: short names, one line for each row of a table and of the enumeration, so
    that a text fits some hundred tokens and a tiny model can learn the task from scratch on a laptop.

    Args:
        level: sets the length of paths: 5 to 10 cells (``simple``), 15 to 20 (``medium``), 25 to 30 (``hard``).
        num_rows: R.
        num_cols: C.
        path_cells: least and largest length of a path, in place of the level's.
        style: ``latex``, the authors' words, or ``compact``.
        compat: ``s2h`` draws paths as the released generator does: 6 to 10 cells at every level, from a cell uniform in
            the whole table, cut off at its end (1 to 10 cells remain; 8 % are shorter than 5 in a table of 5 x 10).
        image: options of ``TableLook``; default: the authors' figure. In style ``compact`` cells have 32 x 32 pixels
            unless the size of a cell or of the figure is given.
        name_pools: draw rows' and columns' names from the first so many only; a small model learns few names sooner.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``. The authors'
            prompt of ``image`` and ``image_via_text`` is the same: which of the two is asked shows in the target only.

    Raises:
        ConfigError: if an option is unknown, the table needs more names than there are, or the path does not fit.
    """

    def __init__(
        self,
        *,
        level: Level = "simple",
        num_rows: int = 5,
        num_cols: int = 10,
        path_cells: Sequence[int] | None = None,
        style: TableStyle = "latex",
        compat: Literal["s2h"] | None = None,
        image: Mapping[str, Any] | TableLook | None = None,
        name_pools: Sequence[int] | None = None,
        distinct_prompts: bool = False,
    ) -> None:
        _check_choice("level", level, get_args(Level))
        _check_choice("style", style, get_args(TableStyle))
        _check_choice("compat", compat, ("s2h", None))
        self.name, self.level, self.compat, self.distinct_prompts = _NAME, level, compat, distinct_prompts
        self.wording = latex_wording(_NAME) if style == "latex" else compact_wording()
        if name_pools is not None:
            self.wording = self.wording.with_pools(*_checked_pools(name_pools, self.wording))
        self.num_rows = _checked_count("num_rows", num_rows, len(self.wording.row_pool))
        self.num_cols = _checked_count("num_cols", num_cols, len(self.wording.col_pool))
        if compat is not None and path_cells is not None:
            raise ConfigError(f"`path_cells` must be left out with `compat: s2h`, but is {path_cells!r} instead.")
        self.path_cells = None if compat else self._checked_path_cells(path_cells)
        self.renderer = TableRenderer(
            _look(image, style),
            row_pool=self.wording.row_pool,
            col_pool=self.wording.col_pool,
            num_rows=num_rows,
            num_cols=num_cols,
        )

    def instance(self, seed: int, index: int) -> TableInstance:
        """Draw one table and its path: a function of task, level, ``seed`` and ``index`` alone."""
        draws = Draws(self.name, self.level, seed, index)
        row_names = draws.distinct(self.wording.row_pool, self.num_rows)
        col_names = draws.distinct(self.wording.col_pool, self.num_cols)
        values = tuple([draws.digits(self.num_cols) for _ in range(self.num_rows)])
        return TableInstance(row_names=row_names, col_names=col_names, values=values, path=self._path(draws))

    def text_form(self, instance: TableInstance) -> str:
        """Return the table in words, with a star behind each value on the path."""
        return self.wording.text_form(instance)

    def prompt(self, instance: TableInstance, kind: Kind) -> str:
        r"""Return the question; it begins with the text form, or with ``<image>\n\n``.

        Raises:
            ConfigError: if there is no such kind.
        """
        _check_choice("kind", kind, KINDS)
        return self.wording.prompt(instance, kind, distinct=self.distinct_prompts)

    def response(self, instance: TableInstance, kind: Kind, *, cot: bool = True) -> str:
        """Return the target: conversion (``image_via_text``), enumeration (``cot``), total and answer.

        Raises:
            ConfigError: if there is no such kind.
        """
        _check_choice("kind", kind, KINDS)
        return self.wording.response(instance, kind, cot=cot)

    def answer(self, instance: TableInstance) -> str:
        """Return the values along the path, in order, with commas between them."""
        return ",".join(map(str, instance.addends))

    def image(self, instance: TableInstance, *, mode: ImageMode = "RGB") -> Image:
        """Draw the table; ``P`` is the same picture with a palette."""
        return self.renderer.draw(instance, mode=mode)

    def sample(self, kind: Kind, seed: int, index: int, *, cot: bool = True) -> Sample:
        """Return one conversation; its image, if any, is drawn now.

        Raises:
            ConfigError: if there is no such kind.
        """
        instance = self.instance(seed, index)
        prompt, response = self.prompt(instance, kind), self.response(instance, kind, cot=cot)
        has_image = kind != "text"
        question = user(prompt.removeprefix(IMAGE_PREFIX.rstrip()) if has_image else prompt, num_images=int(has_image))
        return Sample(
            messages=(question, assistant(response)),
            images=(self.image(instance),) if has_image else (),
            id=f"{self.name}/{self.level}/{kind}/{seed}/{index}",
            reference=self.answer(instance),
            meta={"task": self.name, "level": self.level, "kind": kind, "seed": seed, "index": index},
        )

    def _path(self, draws: Draws) -> tuple[tuple[int, int], ...]:
        """Draw the cells to add, in order."""
        num_cells = self.num_rows * self.num_cols
        if self.path_cells is None:
            length = draws.integer(*_S2H_INCREMENT) + 1
            start = draws.integer(0, num_cells - 1)
            stop = min(start + length, num_cells)
        else:
            length = draws.integer(*self.path_cells)
            start = draws.integer(0, num_cells - length)
            stop = start + length
        cells = tuple([divmod(position, self.num_cols) for position in range(start, stop)])
        return cells[::-1] if draws.coin() else cells

    def _checked_path_cells(self, path_cells: Sequence[int] | None) -> tuple[int, int]:
        num_cells = self.num_rows * self.num_cols
        low, high = _PATH_CELLS[self.level] if path_cells is None else _pair(path_cells)
        if not 1 <= low <= high <= num_cells:
            raise ConfigError(
                f"`path_cells` must be two lengths, the least first, from 1 to the {num_cells} cells of the table, but "
                f"is {[low, high]} instead; `path_cells`, `num_rows` and `num_cols` set them."
            )
        return low, high


def _look(image: Mapping[str, Any] | TableLook | None, style: TableStyle) -> TableLook:
    """Read the look, with the defaults of the style."""
    if image is None:
        image = {}
    if style == "compact" and isinstance(image, Mapping) and not {"width", "height"} & set(image):
        image = {"cell_width": _COMPACT_CELL_PX, "cell_height": _COMPACT_CELL_PX, **image}
    return TableLook.parse(image)


def _pair(value: Sequence[int]) -> tuple[int, int]:
    """Read two integers."""
    if isinstance(value, str) or not isinstance(value, Sequence) or [type(item) for item in value] != [int, int]:
        raise ConfigError(f"`path_cells` must be two integers, but is {value!r} instead.")
    return value[0], value[1]


def _checked_count(name: str, value: int, num_names: int) -> int:
    if type(value) is not int or not 1 <= value <= num_names:
        raise ConfigError(
            f"`{name}` must be an integer from 1 to {num_names}, the number of names that there are, "
            f"but is {value!r} instead."
        )
    return value


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        hint = nearest_hint(str(value), [str(choice) for choice in choices])
        known = ", ".join([f"`{choice}`" for choice in choices])
        raise ConfigError(f"`{name}` must be one of {known}, but is {value!r} instead.{hint}")


def _checked_pools(pools: Sequence[int], wording: TableWording) -> tuple[int, int]:
    """Read two sizes of pools.

    Raises:
        ConfigError: if they are not two, or a pool holds fewer names.
    """
    limits = (len(wording.row_pool), len(wording.col_pool))
    if len(pools) != 2 or not all(1 <= size <= limit for size, limit in zip(pools, limits, strict=True)):
        raise ConfigError(
            f"`name_pools` must be two sizes of at most {limits[0]} and {limits[1]}, but is {list(pools)!r} instead."
        )
    return pools[0], pools[1]
