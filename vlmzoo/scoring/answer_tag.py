"""Answers between tags: one parser that rewards in training and measures in evaluation, and the scores made of it.

Source: TWIN, arXiv:2512.23592, its released reward and its FGVQA tasks.
"""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES
from vlmzoo.scoring._fgvqa import fgvqa_count, fgvqa_pair

__all__ = [
    "COUNTS",
    "YES_NO",
    "AnswerParser",
    "AnswerStatus",
    "AnswerTag",
    "CountMatches",
    "SameOrNot",
    "TaggedAnswer",
    "is_pair",
]

AnswerStatus: TypeAlias = Literal["ok", "missing", "unclosed", "empty", "multiple", "not_in_labels"]
"""``missing``: no opening tag. ``unclosed``: opened, never closed. ``empty``: nothing is left of it. ``multiple``: an
answer, among several. ``not_in_labels``: it says something else."""

YES_NO = ("yes", "no")
COUNTS = ("0", "1", "2", "3")

_TAG = re.compile(r"</?answer>", re.IGNORECASE)  # Unicode's simple folding with it: a long s is an s
_PLAIN_TAG = re.compile(r"</?answer>", re.IGNORECASE | re.ASCII)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def is_pair(question_type: str | None) -> bool:
    """Say whether a question of FGVQA compares two images; all other types count, and no type at all compares."""
    return question_type in (None, "pairwise")


@dataclass(frozen=True)
class TaggedAnswer:
    """What was found in a completion.

    Args:
        value: normalised; None where there is no answer.
        status: what kind of answer it is; only ``ok`` and ``multiple`` are answers that labels know.
    """

    value: str | None
    status: AnswerStatus

    @property
    def is_parsed(self) -> bool:
        """Whether it is an answer that the labels know."""
        return self.status in ("ok", "multiple")


@dataclass(frozen=True, kw_only=True)
class AnswerParser:
    """Reads the answer of a completion in time linear in its length.

    The default is TWIN's released reward: the last complete pair of tags counts, in any letters; case, white space at
    both ends and ASCII punctuation anywhere do not.

    Args:
        labels: what can be said; empty for anything. It decides the status, and in ``strict`` mode the value.
        which: the ``last`` complete pair of tags, or the ``first``.
        synonyms: other words by the label that they stand for, e.g. ``{"same": "yes"}``.
        strict: whether only a label as it stands counts, up to case and white space, between tags of ASCII letters.
        compat: ``fgvqa`` reads as the released FGVQA tasks do, which take words and digits from anywhere; for pairs
            with the labels yes and no, for counts with 0 to 3.

    Raises:
        ConfigError: if an option is unknown, or would have no effect.
    """

    labels: Sequence[str] = ()
    which: Literal["last", "first"] = "last"
    synonyms: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    strict: bool = False
    compat: Literal["fgvqa"] | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.which not in ("last", "first"):
            raise ConfigError(f"`which` must be last or first, but is {self.which!r} instead.")
        if self.compat not in (None, "fgvqa"):
            raise ConfigError(f"`compat` must be fgvqa or null, but is {self.compat!r} instead.")
        if self.compat and (self.strict or self.synonyms or self.which != "last"):
            raise ConfigError("`compat: fgvqa` has rules of its own; leave out `which`, `synonyms` and `strict`.")
        if self.compat and tuple(self.labels) not in (YES_NO, COUNTS):
            raise ConfigError(
                f"`compat: fgvqa` must have the labels {list(YES_NO)} or {list(COUNTS)}, but has {list(self.labels)} "
                "instead."
            )
        if self.strict and not self.labels:
            raise ConfigError("`strict` must have `labels` that an answer can be one of, but there are none.")
        unknown = sorted(set(self.synonyms.values()) - set(self.labels)) if self.labels else []
        if unknown:
            raise ConfigError(
                f"`synonyms` must stand for labels, {list(self.labels)}, but stand for {unknown} instead."
            )

    def parse(self, completion: str | None) -> TaggedAnswer:
        """Return the answer of a completion; whatever the text, it does not raise."""
        text = completion or ""
        if self.compat:
            value = fgvqa_pair(text) if tuple(self.labels) == YES_NO else fgvqa_count(text)
            return TaggedAnswer(value, self._status(value, num=1))
        contents, is_opened = _contents(text, _PLAIN_TAG if self.strict else _TAG)
        if not contents:
            return TaggedAnswer(None, "unclosed" if is_opened else "missing")
        value = self._value(contents[0 if self.which == "first" else -1])
        status = self._status(value, num=len(contents))
        return TaggedAnswer(None if self.strict and status == "not_in_labels" else value, status)

    def normalised(self, text: str | None) -> str | None:
        """Return a reference as answers are compared with it; None if nothing is left of it."""
        return (text or "").strip().lower().translate(_PUNCTUATION).strip() or None

    def agrees(self, completion: str | None, reference: Any) -> bool:
        """Say whether a completion gives the answer that the reference names."""
        found = self.parse(completion).value
        if self.compat:
            return found == reference
        wanted = self.normalised(None if reference is None else str(reference))
        return found is not None and found == wanted

    def _value(self, content: str) -> str | None:
        value = (content.strip().lower() or None) if self.strict else self.normalised(content)
        return self.synonyms.get(value, value) if value is not None else None

    def _status(self, value: str | None, *, num: int) -> AnswerStatus:
        if not value:
            return "empty"
        if self.labels and value not in self.labels:
            return "not_in_labels"
        return "multiple" if num > 1 else "ok"


def _contents(text: str, tag: "re.Pattern[str]") -> tuple[list[str], bool]:
    """Return what stands between pairs of tags from left to right, and whether a tag was opened at all."""
    contents: list[str] = []
    start, is_opened = None, False
    for found in tag.finditer(text):
        is_close = text[found.start() + 1] == "/"
        if start is None and not is_close:
            start, is_opened = found.end(), True
        elif start is not None and is_close:
            contents.append(text[start : found.start()])
            start = None
    return contents, is_opened


@SCORES.register("answer_tag", source="TWIN, arXiv:2512.23592, released reward (compute_score)", tiny={})
@dataclass(frozen=True, kw_only=True)
class AnswerTag(AnswerParser):
    """1 where the answer between the tags is the reference, else 0; see ``AnswerParser`` for the options."""

    def __call__(self, completion: str | None, reference: Any) -> float:
        """Compare with ``reference``, which is normalised like the answer; one that is empty is never met."""
        return float(self.agrees(completion, reference))


@SCORES.register("same_or_not", source="TWIN, arXiv:2512.23592, released reward (compute_score)", tiny={})
@dataclass(frozen=True, kw_only=True)
class SameOrNot(AnswerTag):
    """1 where the last pair of answer tags says what the reference says, yes or no, else 0."""

    labels: Sequence[str] = YES_NO


@SCORES.register("count_matches", source="TWIN, arXiv:2512.23592, FGVQA's multi queries", tiny={})
@dataclass(frozen=True, kw_only=True)
class CountMatches(AnswerTag):
    """1 where the last pair of answer tags says how many candidates match, 0 to 3, else 0."""

    labels: Sequence[str] = COUNTS
