"""Exact match: the completion is the reference, up to a declared normalisation."""

from dataclasses import dataclass
from typing import Any

from vlmzoo.scoring import SCORES

__all__ = ["ExactMatch"]


@SCORES.register("exact_match", source="standard; e.g. SQuAD, arXiv:1606.05250, section 6.1", tiny={})
@dataclass(frozen=True, kw_only=True)
class ExactMatch:
    """1 where the strings are equal after normalisation, else 0.

    SQuAD's own normalisation also drops punctuation and articles; here nothing is dropped that is not asked for.

    Args:
        strip: whether white space at both ends is ignored.
        casefold: whether upper and lower case are the same.
    """

    strip: bool = True
    casefold: bool = False

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, whose ``str`` counts."""
        return float(self._normalise(completion) == self._normalise(str(reference)))

    def _normalise(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text.casefold() if self.casefold else text
