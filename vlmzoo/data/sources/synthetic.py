"""Synthetic tasks as an endless source: a new instance at every position."""

import random
from collections.abc import Mapping
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.synthetic import KINDS, TASKS, Kind
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample

__all__ = ["SyntheticSource"]


@SOURCES.register(
    "synthetic",
    source="S2H, arXiv:2501.02669, section 3 (mixtures of example kinds)",
    tiny={
        "task": {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3},
        "kinds": {"text": 1.0},
    },
)
class SyntheticSource:
    """Fresh instances of one task, each shown as one kind of example.

    Args:
        task: ``{type: name, …}`` for the task registry.
        kinds: weight of each kind of example; a position's kind is drawn by them.
        seed: of instances and kinds; another seed gives other instances.

    Raises:
        ConfigError: if a kind is unknown, or no weight is positive.
    """

    def __init__(self, *, task: Mapping[str, Any], kinds: Mapping[str, float], seed: int = 0) -> None:
        for kind, weight in kinds.items():
            if kind not in KINDS:
                raise ConfigError(f"`kinds` takes no `{kind}`.{nearest_hint(kind, KINDS)} Known: {', '.join(KINDS)}.")
            if weight < 0:
                raise ConfigError(f"The weight of `{kind}` must be zero or more, but is {weight} instead.")
        if not sum(kinds.values()) > 0:
            raise ConfigError(f"`kinds` must give at least one kind a positive weight, but is {dict(kinds)} instead.")
        self.task = TASKS.build(task)
        self.kinds: dict[Kind, float] = {kind: weight for kind, weight in kinds.items()}  # type: ignore[misc]
        self.seed = seed

    @property
    def size(self) -> int | None:
        """None: there is no end."""
        return None

    def sample(self, position: int) -> Sample:
        """Draw the instance at a position."""
        draw = random.Random(f"{self.seed}/{position}")
        (kind,) = draw.choices(list(self.kinds), weights=list(self.kinds.values()))
        return self.task.sample(kind, self.seed, position)
