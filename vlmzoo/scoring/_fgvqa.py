"""How the released FGVQA tasks read answers: for published numbers, never for training.

Source: TWIN, arXiv:2512.23592, its fork of lmms-eval.
"""

import re

__all__ = ["fgvqa_count", "fgvqa_pair"]

_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_WORD = re.compile(r"\b(?:yes|no)\b")
_OTHER = re.compile(r"[^a-z0-9]+")
_DIGIT = re.compile(r"\b[0-3]\b")
_DIGIT_IN_TAG = re.compile(r"<answer>\s*+([0-3])\s*+</answer>", re.IGNORECASE)
_SAYS_YES, _SAYS_NO = ("yes", "y", "yeah", "yep", "true", "1"), ("no", "n", "nope", "false", "0")


def fgvqa_pair(text: str) -> str:
    """Return what a reply to a pair says, by the first pair of tags, else by the whole text; nothing is ``""``."""
    start = None
    for tag in _TAG.finditer(text):
        is_close = text[tag.start() + 1] == "/"
        if start is None and not is_close:
            start = tag.end()
        elif start is not None and is_close:
            if said := _canonical(text[start : tag.start()]):
                return said
            break
    return _canonical(_TAG.sub("", text))


def fgvqa_count(text: str) -> str:
    """Return the first digit alone between tags, else the last one that stands alone anywhere, else ``""``."""
    tagged = _DIGIT_IN_TAG.search(text)
    if tagged:
        return tagged.group(1)
    anywhere = _DIGIT.findall(text)
    return anywhere[-1] if anywhere else ""


def _canonical(text: str) -> str:
    text = text.strip().lower()
    words = _WORD.findall(text)
    if words:
        return words[-1]
    compact = _OTHER.sub("", text)
    if compact in _SAYS_YES:
        return "yes"
    if compact in _SAYS_NO:
        return "no"
    return text.split(maxsplit=1)[0] if text else ""
