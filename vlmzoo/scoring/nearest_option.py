"""Which of several answers a free answer means: the one that shares most words with it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from vlmzoo.scoring import SCORES, Score

__all__ = ["nearest_option", "word_overlap"]

_WORD = re.compile(r"[^\W_]+")


def word_overlap(one: str, other: str) -> float:
    """Return the F1 of the words of two texts, whatever their order and case; 0 if they share none.

    Source: SQuAD, arXiv:1606.05250, section 6.1.
    """
    mine, theirs = (Counter(_WORD.findall(text.casefold())) for text in (one, other))
    shared = sum((mine & theirs).values())
    return 2 * shared / (sum(mine.values()) + sum(theirs.values())) if shared else 0.0


@SCORES.register("nearest_option", source="vlmzoo's own; word F1: SQuAD, arXiv:1606.05250, section 6.1", tiny={})
def nearest_option() -> Score:
    """Return a score of 1 where the right option, and no other, is nearest to the completion, else 0.

    The reference is ``{"options": [text, …], "answer": number}``; words that all options share count, too, but for each
    of them alike.
    """

    def score(completion: str, reference: Any) -> float:
        told: Mapping[str, Any] = cast(Mapping[str, Any], reference) if isinstance(reference, Mapping) else {}
        options: Sequence[str] = told["options"] if told else []
        near = [word_overlap(completion, option) for option in options]
        best = max(near, default=0.0)
        if best == 0.0 or near.count(best) > 1:
            return 0.0
        return float(near.index(best) == told["answer"])

    return score
