"""How an agent that thinks fast and slow decides, looks and answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vlmzoo.agents.noun_chunks import question_objects
from vlmzoo.data.focus import Layout
from vlmzoo.errors import ConfigError

__all__ = ["FastSlowOptions"]


@dataclass(frozen=True, kw_only=True)
class FastSlowOptions:
    """How an agent decides, looks and answers; the defaults decide as SEAL does.

    Args:
        decide: ``auto`` looks where the model refuses, ``fast`` never, ``slow`` always.
        tau_fast: an answer less confident than this is looked for, too; None asks the refusal alone. ``calibrated_tau``
            chooses it.
        max_objects: that are looked for in one round.
        max_rounds: of looking; another one looks for what the second refusal names.
        layout: of the forms of image and objects, see ``forms_of``.
        is_strict: whether a refusal must be the authors' words to the letter.
        min_mask_area_px: a smaller mask does not tighten a box.
        min_mask_overlap: IoU that the box of a mask must have with what was proposed, to replace it.
        dims_outside: whether crops are darkened outside of the masks.
        time_budget_s: for a question; what was found until then is answered with. None for no limit.
        proposer_timeout_s: for one object; None for no limit but that of the budget. A proposer that is late goes on in
            a thread of its own, and what it finds is thrown away.
        max_new_tokens: limit of an answer.
        batch_size: questions that are asked at once.
        noun_chunks: the objects of a question, where no refusal names any.

    Raises:
        ConfigError: if an option is out of range.
    """

    decide: Literal["auto", "fast", "slow"] = "auto"
    tau_fast: float | None = None
    max_objects: int = 4
    max_rounds: int = 1
    layout: Layout = "seal"
    is_strict: bool = False
    min_mask_area_px: int = 16
    min_mask_overlap: float = 0.1
    dims_outside: bool = False
    time_budget_s: float | None = None
    proposer_timeout_s: float | None = None
    max_new_tokens: int = 200
    batch_size: int = 16
    noun_chunks: Callable[[str], Sequence[str]] = field(default=question_objects)

    def __post_init__(self) -> None:
        """Check the options."""
        if self.decide not in ("auto", "fast", "slow"):
            raise ConfigError(f"`decide` must be auto, fast or slow, but is {self.decide!r} instead.")
        for name in ("tau_fast", "min_mask_overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"`{name}` must lie within [0, 1], but is {value} instead.")
        for name in ("max_objects", "max_rounds", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, but is {getattr(self, name)} instead.")
        for name in ("time_budget_s", "proposer_timeout_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"`{name}` must be positive, or None for no limit, but is {value} instead.")
