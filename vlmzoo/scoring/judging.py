"""What a judge's words say: a score out of ten, a rating, or a pair of scores; what cannot be read is None, never 0.

A judge reads texts that somebody else wrote, and may repeat them; so two different scores in one answer are no score.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

from vlmzoo.errors import ConfigError

__all__ = ["JudgeCompat", "read_rating", "read_score", "read_score_pair"]

JudgeCompat: TypeAlias = Literal["reference"]
"""``reference``: as the released code of OViP reads it, for goldens and for comparison with published runs."""

_MAX_CHARS = 20_000
_REFERENCE = re.compile(r"score[:\uff1a]\s*\[?([0-9]+)\]?")
_REFERENCE_START = re.compile(r"^(\d+)")
_NUMBER = r"(?P<number>[-+]?\d+(?:\.\d+)?)"
_AFTER = (
    r"(?P<after>[\]\)>}\"'`*_ \t]*(?:(?:/|out of)[ \t]*(?P<of>\d+(?:\.\d+)?))?(?:points?\b)?(?P<rest>[^\n]?[^\n]?))"
)
_LABELLED = re.compile(
    r"\b(?:score|rating)\b[\"'`*_]*[ \t]*(?:is[ \t]*:?|of|[:\uff1a=\-–])[ \t]*[\"'`*_]*\s*[\[\(<{\"'`*_ \t]*"
    + _NUMBER
    + _AFTER,
    re.IGNORECASE | re.ASCII,
)
_ALONE = re.compile(r"\s*[\[\(<{\"'`*_]*\s*" + _NUMBER + _AFTER + r"[ \t.]*\s*\Z", re.ASCII)
_GOES_ON = re.compile(r"[%\w/]|\.\d|[-–]\s?\d")  # a percentage, a range, another scale
_FENCE = re.compile(r"```(?:json)?")
_JSON_OBJECT = re.compile(r"\{[^{}]*\}")
_RATING = re.compile(r"\**rating\**\s*:\s*\**\s*(\d(?:\.\d+)?)", re.IGNORECASE | re.ASCII)


def read_score(
    text: str, *, compat: JudgeCompat | None = None, lowest: float = 0.0, highest: float = 10.0
) -> float | None:
    """Return the score that a judge gives, or None where it gives none that can be trusted.

    A JSON object's field ``score`` comes first; then ``Score: 8`` with whatever brackets and stars; then a number that
    stands alone. A score out of range, a range of scores, a percentage, or two different scores are none.

    Source: OViP, arXiv:2505.15963, its released judge's prompt; the ``reference`` form is that of its code.

    Args:
        text: what the judge wrote.
        compat: ``reference`` truncates decimals, checks no range and reads only two forms.
        lowest: of the range.
        highest: of the range.

    Raises:
        ConfigError: if ``compat`` is unknown.
    """
    if compat not in (None, "reference"):
        raise ConfigError(f"`compat` must be reference or null, but is {compat!r} instead.")
    if compat == "reference":
        lowered = text.lower()
        match = _REFERENCE.search(lowered) or _REFERENCE_START.search(lowered)
        return None if match is None else float(int(match[1]))
    text = text[:_MAX_CHARS]
    whole = _FENCE.sub("", text).strip()
    found = _in_json(whole) if whole.startswith("{") and _parsed(whole) is not None else []
    if not found:  # words around it may be repeated ones, so that all scores must agree
        labelled = list(_LABELLED.finditer(text))
        matches = labelled or [match for match in [_ALONE.fullmatch(text)] if match is not None]
        found = [*_in_json(text), *(_value(match, highest) for match in matches)]
    return found[0] if len(set(found)) == 1 and found[0] is not None and lowest <= found[0] <= highest else None


def read_rating(text: str, *, compat: JudgeCompat | None = None) -> int | None:
    """Return the rating from 0 to 6 that MMHal-Bench's judge gives; None where it gives none, or several.

    Source: MMHal-Bench, arXiv:2309.14525, section 4.1; its script looks for ``rating: s`` and takes 2.5 for 2.

    Args:
        text: what the judge wrote.
        compat: ``reference`` does as the script does, short of scoring 0 what it cannot read.
    """
    if compat == "reference":
        lowered = text.lower()
        found = [s for s in range(7) if f"rating: {s}" in lowered or f"**rating**: {s}" in lowered]
        return found[0] if len(found) == 1 else None
    ratings = {match[1] for match in _RATING.finditer(text[:_MAX_CHARS])}
    told = ratings.pop() if len(ratings) == 1 else ""
    return int(told) if told.isdecimal() and int(told) <= 6 else None


def read_score_pair(text: str, *, compat: JudgeCompat | None = None) -> tuple[float, float] | None:
    """Return the two scores on the first line of LLaVA-Bench's judge, the reference answer's first; None for none.

    Source: LLaVA, arXiv:2304.08485, section 5.1, and the review script of its repository.

    Args:
        text: what the judge wrote.
        compat: ``reference`` takes exactly two parts between single spaces and checks no range.
    """
    line = text.split("\n")[0].replace(",", " ")
    parts: Sequence[str] = line.split(" ") if compat == "reference" else line.split()
    try:
        pair = [float(part) for part in parts]
    except ValueError:
        return None
    if len(pair) != 2 or (compat is None and not all(1.0 <= value <= 10.0 for value in pair)):
        return None
    return pair[0], pair[1]


def _in_json(text: str) -> list[float | None]:
    """Return the fields ``score`` of the whole, if it is a JSON object, or of those within; None for no number."""
    whole = _parsed(text)
    objects = [_parsed(match[0]) for match in _JSON_OBJECT.finditer(text)] if whole is None else [whole]
    return [_number(one["score"]) for one in objects if one is not None and "score" in one]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None


def _value(match: re.Match[str], highest: float) -> float | None:
    """Return the number of a match; None where what follows makes it something else."""
    of = match["of"]
    is_other_scale = of is not None and float(of) != highest
    goes_on = _GOES_ON.match(match["rest"]) is not None
    return None if is_other_scale or goes_on else float(match["number"])
