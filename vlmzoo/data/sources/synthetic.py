"""Synthetic tasks as a source, endless or not: a new instance at every position."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vlmzoo.data.sources import SOURCES, STRETCH
from vlmzoo.data.synthetic import KINDS, TASKS, Kind
from vlmzoo.data.synthetic._checks import chain_options
from vlmzoo.errors import ConfigError
from vlmzoo.registry import NestedSpecs, nearest_hint
from vlmzoo.types import Sample

__all__ = ["SyntheticSource"]


@SOURCES.register(
    "synthetic",
    source="S2H, arXiv:2501.02669, section 3 (mixtures of example kinds)",
    tiny={
        "task": {
            "type": "consecutive_table_readout",
            "style": "compact",
            "num_rows": 2,
            "num_cols": 3,
            "path_cells": [2, 3],
        },
        "kinds": {"text": 1.0},
    },
)
class SyntheticSource:
    """Fresh instances of one task, each shown as one kind of example.

    Args:
        task: ``{type: name, …}`` for the task registry.
        kinds: weight of each kind of example; a position's kind is drawn by them.
        later: ``{from: position, kinds: …}`` for each later phase of a run, in order; its weights hold from there on.
        cot: whether targets have a chain of thought.
        keep: share of it that is left, from its beginning.
        cot_style: how it is written; the task's ``cot_styles`` says what there is.
        seed: of instances and kinds; another seed gives other instances.
        size: how many there are; None for no end.

    Raises:
        ConfigError: if ``size`` is not positive, a kind is unknown, no weight is positive, the phases are out of order,
            or the task has no such chain of thought.
    """

    nested_specs: ClassVar[NestedSpecs] = {"task": TASKS.check}

    def __init__(
        self,
        *,
        task: Mapping[str, Any],
        kinds: Mapping[str, float],
        later: Sequence[Mapping[str, Any]] = (),
        cot: bool = True,
        keep: float = 1.0,
        cot_style: str = "standard",
        seed: int = 0,
        size: int | None = None,
    ) -> None:
        if size is not None and size < 1:
            raise ConfigError(f"`size` must be positive, but is {size} instead; leave it out for no end.")
        self._size = size
        self.task = TASKS.build(task)
        self.phases = [(0, _checked_kinds(kinds)), *(_checked_phase(phase) for phase in later)]
        starts = [start for start, _ in self.phases]
        if starts != sorted(set(starts)):
            raise ConfigError(f"`later` must begin at growing positions above 0, but begins at {starts[1:]} instead.")
        self.seed = seed
        self.chain = chain_options(self.task, cot=cot, keep=keep, cot_style=cot_style)

    @property
    def size(self) -> int | None:
        """The number of instances; None if there is no end."""
        return self._size

    def sample(self, position: int) -> Sample:
        """Draw the instance at a position."""
        place = position % STRETCH
        kinds = next(kinds for start, kinds in reversed(self.phases) if place >= start)
        draw = random.Random(f"{self.seed}/{position}")
        (kind,) = draw.choices(list(kinds), weights=list(kinds.values()))
        return self.task.sample(kind, self.seed, position, **self.chain)


def _checked_phase(phase: Mapping[str, Any]) -> tuple[int, dict[Kind, float]]:
    if phase.keys() != {"from", "kinds"}:
        raise ConfigError(f"A phase of `later` must have `from` and `kinds`, but has {', '.join(phase)} instead.")
    return int(phase["from"]), _checked_kinds(phase["kinds"])


def _checked_kinds(kinds: Mapping[str, float]) -> dict[Kind, float]:
    checked: dict[Kind, float] = {}
    for kind, weight in kinds.items():
        if kind not in KINDS:
            raise ConfigError(f"`kinds` takes no `{kind}`.{nearest_hint(kind, KINDS)} Known: {', '.join(KINDS)}.")
        if weight < 0:
            raise ConfigError(f"The weight of `{kind}` must be zero or more, but is {weight} instead.")
        checked[kind] = weight
    if not sum(checked.values()) > 0:
        raise ConfigError(f"`kinds` must give at least one kind a positive weight, but is {dict(kinds)} instead.")
    return checked
