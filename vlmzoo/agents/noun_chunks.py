"""What a cue sentence points at: the words after the object, and the things that they name.

Source: V*, arXiv:2312.14135, section 3; penghao-wu/vstar@4ede664, by its rules. The authors find noun chunks with
a parser, spaCy's. None is bundled here: bring your own as ``VisualSearch(noun_chunks=…)``, any callable from a text to
its chunks; the default makes do without.
"""

import re
from collections.abc import Callable, Sequence

__all__ = ["cue_phrase", "longest_chunks", "plain_noun_chunks", "question_objects"]

_LEADING = re.compile(
    r"^(?:(?:on|in|at|near|by|under|above|below|beside|behind|inside|around|of|to|with|next to|close to|top of|"
    r"the|a|an|its|their|his|her|this|that|these|those)\s+)+",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"\b(?:the|an?|any)\s+((?:[\w'-]+\s+){0,3}?[\w'-]+)"
    r"(?=\s+(?:is|are|was|were|has|have|in|on|at|of|to|and|or|with|from|under|above|below|behind|beside|near|next|left"
    r"|right|than|that|which|holding|wearing|visible|there)\b|\s*[?.,;:!]|\s*$)",
    re.IGNORECASE,
)
_NO_OBJECTS = re.compile(
    r"^(?:(?:left|right|top|bottom|upper|lower)(?: (?:side|part|corner))?|image|picture|photo|scene|colou?r|shape|size"
    r"|material|number|answer|side|position|option|letter)s?$",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r",|;|\band\b|\bor\b", re.IGNORECASE)


def cue_phrase(answer: str, name: str, *, marker: str, noun_chunks: Callable[[str], Sequence[str]], region: str) -> str:
    """Return the phrase that a search looks for next.

    Args:
        answer: what the model said to the cue question.
        name: of the object, taken as it is, whatever characters it has.
        marker: the words after which the place comes.
        noun_chunks: gives the noun chunks of a text.
        region: what is said of several things at once, with ``{phrase}`` in it.

    Returns:
        The one noun chunk that is named, else ``region`` filled with the words.
    """
    words = answer.rpartition(marker)[2].strip().removesuffix(".")
    if name and name in words:
        words = words.rpartition(name)[2]
    words = words.strip()
    chunks = noun_chunks(words)
    return chunks[0] if len(chunks) == 1 else region.replace("{phrase}", words)


def plain_noun_chunks(text: str) -> list[str]:
    """Return the parts of an enumeration, each without its leading prepositions and articles.

    An approximation that needs no parser: "on the table and near the cup" gives "table" and "cup".
    """
    parts = (_LEADING.sub("", part.strip()).strip() for part in _SEPARATORS.split(text))
    return [part for part in parts if part]


def longest_chunks(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans that do not overlap, the longest first choice and the earlier of two equally long ones.

    It is for a ``noun_chunks`` of your own: what a parser finds overlaps, and the authors keep these of its spans.

    Args:
        spans: first and last token of each, both included.

    Returns:
        What is kept, in the order of the text.
    """
    kept: list[tuple[int, int]] = []
    for first, last in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        if all(last < other_first or first > other_last for other_first, other_last in kept):
            kept.append((first, last))
    return sorted(kept)


def question_objects(question: str) -> list[str]:
    """Return the things that a question names: what stands behind an article, and is no property, side or picture.

    An approximation where spaCy is not installed: "What colour is the small flag on the boat?" gives "small flag" and
    "boat".
    """
    found = (match.group(1).strip() for match in _NAMED.finditer(question))
    return list(dict.fromkeys(name for name in found if not _NO_OBJECTS.match(name)))
