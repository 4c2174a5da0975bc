"""Scores of visual analogies: the labels of all rows must be right, or at least the choice of the option.

Source: S2H, arXiv:2501.02669, evaluation.
"""

import re
from dataclasses import dataclass
from typing import Any

from vlmzoo.scoring import SCORES

__all__ = ["AnalogyExactMatch", "AnalogyPartialScore"]

_START = "Example 1:"
_OPTION = re.compile(r"Option ([0-9]{1,3}):.*, (consistent|not consistent)")
_ANSWER = re.compile(r"Answer: ?\[?([0-9]{1,3})\]?\.?")


@SCORES.register("analogy_exact_match", source="S2H, arXiv:2501.02669, evaluation of Visual Analogy", tiny={})
@dataclass(frozen=True, kw_only=True)
class AnalogyExactMatch:
    """1 where the completion's last block from ``Example 1:`` on is that of the reference, else 0.

    So each example and option must have its attribute and its relation, each option its verdict, and the answer its
    number. What stands before the block is not looked at.
    """

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, the lines of the answer (or a whole response)."""
        block = _block(completion)
        return float(bool(block) and block == _block(str(reference)))


@SCORES.register("analogy_partial_score", source="S2H, arXiv:2501.02669, evaluation of Visual Analogy", tiny={})
@dataclass(frozen=True, kw_only=True)
class AnalogyPartialScore:
    """1 where the number of the answer and the verdict on each option are those of the reference, else 0.

    Attributes and relations are not looked at. The released evaluation looks for the verdicts one line too low, finds
    them nowhere, and gives 1 to nearly everything; this is the rule that it states.
    """

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, the lines of the answer (or a whole response)."""
        choice = _choice(_block(completion))
        return float(choice is not None and choice == _choice(_block(str(reference))))


def _block(text: str) -> str:
    """Return what stands from the last ``Example 1:`` on, without the white space around it and behind that."""
    _, found, rest = text.rpartition(_START)
    return f"{_START} {rest.strip()}" if found else ""


def _choice(block: str) -> tuple[str, list[tuple[str, str]]] | None:
    """Return the number of the answer and (number, verdict) of each option; None where there are none."""
    lines = [line.strip() for line in block.splitlines()]
    answers = [match.group(1) for match in map(_ANSWER.fullmatch, lines) if match]
    verdicts = [(match.group(1), match.group(2)) for match in map(_OPTION.fullmatch, lines) if match]
    return (answers[-1], verdicts) if answers and verdicts else None
