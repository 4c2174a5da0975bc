"""Rewards of classification: the answer is the label, or holds it.

Source: Visual-RFT, arXiv:2503.01785, section 3.2.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.scoring import SCORES
from vlmzoo.scoring._answers import Compat, answer_of, check_compat, first_answer_of

__all__ = ["ClassContains", "ClassExact", "normalised_label"]

_DROPPED = re.compile(r"[\s_]+")


@SCORES.register("class_exact", source="Visual-RFT, arXiv:2503.01785, section 3.2 (accuracy reward)", tiny={})
@dataclass(frozen=True, kw_only=True)
class ClassExact:
    """1 where the answer is the label, up to case, spaces, underscores and Unicode's compatible forms, else 0.

    Args:
        compat: rules of published code: either may hold the other, so that an empty answer is right.

    Raises:
        ConfigError: if an option is unknown.
    """

    compat: Compat | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_compat(self.compat)

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, a label or a solution such as ``<answer>label</answer>``."""
        if self.compat is not None:
            label, answer = _published_label(answer_of(str(reference))), _published_label(first_answer_of(completion))
            return float(answer in label or label in answer)
        label = normalised_label(answer_of(str(reference)))
        answer = normalised_label(answer_of(completion))
        return float(bool(answer) and answer == label)


@SCORES.register("class_contains", source="Visual-RFT, arXiv:2503.01785, as its published numbers are counted", tiny={})
@dataclass(frozen=True, kw_only=True)
class ClassContains:
    """1 where the answer holds the label, else 0.

    Args:
        classes: all labels; given them, an answer that names another one, too, is wrong. A label that is part of
            another named one (``rose`` in ``primrose``) does not count as named.
    """

    classes: Sequence[str] = ()

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, a label or a solution such as ``<answer>label</answer>``."""
        label, answer = normalised_label(answer_of(str(reference))), normalised_label(answer_of(completion))
        if not label or label not in answer:
            return 0.0
        named = {name for name in map(normalised_label, self.classes) if name and name in answer} | {label}
        return float({name for name in named if not any(name in other for other in named - {name})} == {label})


def normalised_label(text: str | None) -> str:
    """Return a label without what does not count; None is the empty one."""
    return _DROPPED.sub("", unicodedata.normalize("NFKC", text or "")).lower()


def _published_label(text: str | None) -> str:
    """Return a label as the released code compares it: spaces and underscores alone do not count."""
    return (text or "").replace(" ", "").replace("_", "").lower()
