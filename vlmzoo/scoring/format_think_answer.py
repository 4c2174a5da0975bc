"""Reward of the format: first the thought, then the answer, each in its tags, and nothing else."""

import re
from dataclasses import dataclass
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES
from vlmzoo.scoring._answers import Compat, check_compat

__all__ = ["FormatThinkAnswer"]

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_BETWEEN = re.compile(r"</think>\s*+<answer>")


@SCORES.register("format_think_answer", source="Visual-RFT, arXiv:2503.01785, section 3.2 (format reward)", tiny={})
@dataclass(frozen=True, kw_only=True)
class FormatThinkAnswer:
    """1 where the completion is ``<think>…</think> <answer>…</answer>`` with each tag once, else 0.

    Args:
        min_think_chars: characters that the thought must have, white space at its ends not counted; models are known
            to end with three dots.
        compat: rules of published code: tags may be repeated.

    Raises:
        ConfigError: if an option is unknown, or the number negative.
    """

    min_think_chars: int = 0
    compat: Compat | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_compat(self.compat)
        if self.min_think_chars < 0:
            raise ConfigError(f"`min_think_chars` must be zero or more, but is {self.min_think_chars} instead.")

    def __call__(self, completion: str, reference: Any) -> float:
        """Look at the completion alone."""
        between = _BETWEEN.search(completion, len("<think>"))
        if not completion.startswith("<think>") or not completion.endswith("</answer>") or between is None:
            return 0.0
        if between.end() > len(completion) - len("</answer>"):
            return 0.0
        thought = completion[len("<think>") : between.start()]
        if len(thought.strip()) < self.min_think_chars:
            return 0.0
        return float(self.compat is not None or all(completion.count(tag) == 1 for tag in _TAGS))
