"""Multiple choice: whether an answer names the right option, and nothing else."""

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES

__all__ = ["OptionCompat", "OptionLetter"]

OptionCompat: TypeAlias = Literal["mmstar", "cvbench", "realworldqa"]
"""The released graders of OViP's evaluation, each with its own faults."""

_MARKS = re.compile(r"[\(\)\s\.]")
_CUT = 4
_OPTION = re.compile(
    r"\W*(?:the (?:correct )?(?:answer|option) is|answer:?)?\W*([a-z])[ \t]*(?:[.):,\]\r\n]|$)", re.IGNORECASE
)


@SCORES.register(
    "option_letter",
    source="MMStar, arXiv:2403.20330; CV-Bench, arXiv:2406.16860; RealWorldQA; graders of OViP's released evaluation",
    tiny={},
)
@dataclass(frozen=True, kw_only=True)
class OptionLetter:
    """1 where an answer begins with the letter of the reference, or equals a reference that is no letter.

    A letter counts before an end, a line break, or one of ``. ) ] : ,``: ``B``, ``(b)``, ``B. the cat`` and ``The
    answer is B`` name B; ``Both A and B``, ``Apple`` and ``A cat`` name nothing.

    Args:
        compat: one of the released graders: ``mmstar`` (``Apple`` is A), ``cvbench`` (``A.`` is nothing) or
            ``realworldqa`` (a letter within four characters, else the whole text).

    Raises:
        ConfigError: if ``compat`` is unknown.
    """

    compat: OptionCompat | None = None

    def __post_init__(self) -> None:
        """Check the option."""
        if self.compat not in (None, "mmstar", "cvbench", "realworldqa"):
            raise ConfigError(f"`compat` must be mmstar, cvbench, realworldqa or null, but is {self.compat!r} instead.")

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``: a letter, perhaps in brackets, or a word.

        Args:
            completion: what was answered.
            reference: the label; for ``realworldqa`` a mapping of ``answer`` and ``question``, or the label of a
                question that asks for a letter.
        """
        if self.compat == "realworldqa":
            return float(_realworldqa(completion, reference))
        label = str(reference)
        if self.compat == "mmstar":
            return float(_MARKS.sub(" ", completion.strip().lower()).strip().startswith(label.lower()))
        if self.compat == "cvbench":
            cut = completion.strip().lower()[:_CUT]
            return float(re.sub(r"[\(\)\s]", "", cut) == re.sub(r"[\(\)\s]", "", label.lower()))
        letter = _letter(label)
        return float(_bare(completion) == _bare(label) if letter is None else _letter(completion) == letter)


def _letter(text: str) -> str | None:
    """Return the letter that a text names; None where it names none."""
    match = _OPTION.match(text.strip())
    return match[1].lower() if match else None


def _bare(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()


def _realworldqa(completion: str, reference: Any) -> bool:
    if isinstance(reference, dict):
        told = cast("dict[str, Any]", reference)
        label, wants_letter = str(told["answer"]), "only the letter" in str(told.get("question", ""))
    else:
        label = str(reference)
        wants_letter = len(label) == 1
    said = completion.strip().lower()
    cleaned = _MARKS.sub("", said[:_CUT] if wants_letter else said)
    return cleaned == label.strip().lower()
