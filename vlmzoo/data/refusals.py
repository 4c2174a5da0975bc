"""The refusal by which a switch says what it could not see.

Source: V*, arXiv:2312.14135, section 3.1; penghao-wu/vstar@4ede664, whose rule is the strict one.
"""

import re
from collections.abc import Sequence
from typing import Any

from vlmzoo.data.prompts import load_prompts

__all__ = ["missing_objects", "refusal_of"]

_NUMBERING = re.compile(r"^\s*(?:\(?\d+[.):]|[-*•])\s*")
_SEPARATORS = re.compile(r"[,;\n]|\band\b|\bor\b|(?<=\s)(?=\(?\d+[.)]\s)", re.IGNORECASE)
_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
_ARTICLE = re.compile(r"^(?:the|a|an)\s+", re.IGNORECASE)


def refusal_of(names: Sequence[str]) -> str:
    """Return the sentence that refuses for want of these objects."""
    return f"{_switch()['refusal']} {', '.join(names)}."


def missing_objects(answer: str, *, strict: bool = False) -> list[str] | None:
    """Return the objects that an answer misses; None if it is no refusal.

    Args:
        answer: what the model said, whatever it is.
        strict: True reads it as the authors do: the sentence to the letter, one full stop taken off, cut at commas,
            each part stripped. False minds neither case nor spaces of the sentence, and also cuts at "and", "or",
            semicolons, lines and numbers, takes off quotes, articles and full stops, and names nothing twice.
    """
    sentence = str(_switch()["refusal"])
    if strict:
        if sentence not in answer:
            return None
        words = answer.split(sentence, 1)[1].strip()
        return [part.strip() for part in words.removesuffix(".").split(",")]
    words = r"\s+".join(re.escape(word) for word in sentence.rstrip(":").split())
    found = re.search(words + r"\s*:?", answer, flags=re.IGNORECASE)
    if found is None:
        return None
    names: dict[str, str] = {}
    for part in _SEPARATORS.split(answer[found.end() :]):
        name = _bare(part)
        if name:
            names.setdefault(name.casefold(), name)
    return list(names.values())


def _bare(part: str) -> str:
    """Return a name without what people put around names."""
    name = _NUMBERING.sub("", part).strip().rstrip(".!?").strip().strip(_QUOTES).rstrip(".!?").strip()
    return _ARTICLE.sub("", name).strip()


def _switch() -> Any:
    return load_prompts("seal")["switch"]
