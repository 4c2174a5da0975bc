"""AMBER: what a description covers and makes up (generative), and yes-or-no questions (discriminative).

Source: AMBER, arXiv:2311.07397, section 4, and its released script.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import eq
from typing import Literal, TypeAlias

from vlmzoo.errors import ConfigError, DataError

__all__ = [
    "AmberCompat",
    "AmberCounts",
    "AmberVocabulary",
    "amber_discriminative",
    "amber_generative",
    "count_mentions",
    "find_words",
]

AmberCompat: TypeAlias = Literal["reference"]
"""``reference``: the released script to the digit: denominators begin at 0.001, words keep their case, answers are the
words Yes and No alone."""

Similarity: TypeAlias = Callable[[str, str], float]

_GROUPS: Mapping[str, Sequence[str]] = {
    "attribute": (
        "discriminative-attribute-state",
        "discriminative-attribute-number",
        "discriminative-attribute-action",
    ),
    "state": ("discriminative-attribute-state",),
    "number": ("discriminative-attribute-number",),
    "action": ("discriminative-attribute-action",),
    "existence": ("discriminative-hallucination",),
    "relation": ("discriminative-relation", "relation"),
}
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class AmberVocabulary:
    """The words that AMBER knows.

    Args:
        association: words that mean each object (``relation.json``).
        safe_words: that nobody is blamed for.
        similarity: of two words, from 0 to 1; the script uses word vectors. Default: equal words alone.
        threshold: above which two words are taken for one.
        compat: ``reference``, or None: case does not matter.
    """

    association: Mapping[str, Sequence[str]]
    safe_words: Sequence[str] = ()
    similarity: Similarity | None = None
    threshold: float = 0.8
    compat: AmberCompat | None = None
    words: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the words.

        Raises:
            ConfigError: if ``compat`` is none that is known.
        """
        if self.compat not in (None, "reference"):
            raise ConfigError(f"`compat` must be reference or null, but is {self.compat!r} instead.")
        known = {word for name, others in self.association.items() for word in (name, *others)}
        object.__setattr__(self, "words", frozenset(known))

    def entries(self, objects: Sequence[str]) -> list[tuple[str, int]]:
        """Return the words of objects, each with its object's number: all associations first, then the objects.

        Raises:
            DataError: if an object is unknown.
        """
        for name in objects:
            if name not in self.association:
                raise DataError(f"AMBER's annotations name `{name}`, which `relation.json` does not know; use its own.")
        others = [(word, number) for number, name in enumerate(objects) for word in self.association[name]]
        return [*others, *((name, number) for number, name in enumerate(objects))]

    def is_like(self, word: str, other: str) -> bool:
        """Say whether two words are taken for one."""
        if self.similarity is None:
            return word == other
        return self.similarity(word, other) > self.threshold


@dataclass(frozen=True, kw_only=True)
class AmberCounts:
    """What one description mentions.

    Args:
        hallucinated: mentions of what is not there.
        mentions: of words that AMBER knows.
        covered: objects of the truth that are mentioned.
        truth: objects of the truth.
        cognitive: likely hallucinations that are mentioned.
        likely: likely hallucinations.
    """

    hallucinated: int
    mentions: int
    covered: int
    truth: int
    cognitive: int
    likely: int


def find_words(text: str, vocabulary: AmberVocabulary) -> list[str]:
    """Return the words of a text that a vocabulary knows, in order; plurals are read as singulars.

    It stands in for the script's part-of-speech tagger: a word of the vocabulary counts wherever it stands.
    """
    found: list[str] = []
    for word in re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower()):
        forms = (word, *_singulars(word))
        known = next((form for form in forms if form in vocabulary.words), None)
        if known is not None:
            found.append(known)
    return found


def count_mentions(
    nouns: Iterable[str], *, truth: Sequence[str], likely: Sequence[str], vocabulary: AmberVocabulary
) -> AmberCounts:
    """Count what the nouns of one description cover and make up.

    Args:
        nouns: of the description, with repetitions.
        truth: objects that are there.
        likely: objects that are often made up for this picture.
        vocabulary: whose words count.

    Raises:
        DataError: if an object is unknown.
    """
    truth_entries, likely_entries = vocabulary.entries(truth), vocabulary.entries(likely)
    covered: set[int] = set()
    cognitive: set[int] = set()
    hallucinated = mentions = 0
    for noun in (noun if vocabulary.compat else noun.lower() for noun in nouns):
        if noun not in vocabulary.words:
            continue
        mentions += 1
        if noun in vocabulary.safe_words:
            continue
        is_same, is_like = partial(eq, noun), partial(vocabulary.is_like, noun)
        exact = _first(truth_entries, is_same)
        if exact is not None:
            covered.add(exact)
            continue
        for test in (is_same, is_like):
            made_up = _first(likely_entries, test)
            if made_up is not None:
                cognitive.add(made_up)
        alike = _first(truth_entries, is_like)
        if alike is None:
            hallucinated += 1
        else:
            covered.add(alike)
    return AmberCounts(
        hallucinated=hallucinated,
        mentions=mentions,
        covered=len(covered),
        truth=len(truth),
        cognitive=len(cognitive),
        likely=len(likely),
    )


def amber_generative(counts: Sequence[AmberCounts], *, compat: AmberCompat | None = None) -> dict[str, float]:
    """Return CHAIR, Cover, Hal and Cog of descriptions, in percent.

    The benchmark ``amber_generative`` divides the same counts, with intervals; goldens hold the two against each other.

    Args:
        counts: of each description.
        compat: ``reference`` begins denominators at 0.001 and rounds to a tenth.

    Returns:
        ``chair``, ``cover``, ``hal``, ``cog``; without ``compat``, one that has nothing to divide by is left out.
    """
    clean = sum(one.hallucinated == 0 for one in counts)
    shares = {
        "chair": (sum(one.hallucinated for one in counts), sum(one.mentions for one in counts)),
        "cover": (sum(one.covered for one in counts), sum(one.truth for one in counts)),
        "hal": (clean, len(counts)),
        "cog": (sum(one.cognitive for one in counts), sum(one.likely for one in counts)),
    }
    if compat == "reference":
        exact = {name: own / (0.001 + whole) * 100 for name, (own, whole) in shares.items()}
        exact["hal"] = 100 - exact["hal"]
        return {name: round(value, 1) for name, value in exact.items()}
    made = {name: 100 * own / whole for name, (own, whole) in shares.items() if whole}
    return {name: 100 - value if name == "hal" else value for name, value in made.items()}


def amber_discriminative(
    items: Sequence[tuple[str, str, str]], *, compat: AmberCompat | None = None
) -> dict[str, dict[str, float]]:
    """Return accuracy, precision, recall and F1 of yes-or-no questions, in percent, of all and of each kind.

    "No" is the positive class: what is asked about is mostly not there.

    Args:
        items: type of the question, ``yes`` or ``no``, and the answer.
        compat: ``reference`` takes ``Yes`` and ``No`` alone, begins denominators at 0.001 and rounds in between; else
            an answer that begins with the word counts, and what has nothing to divide by is left out.
    """
    read = [(kind, truth, _answer(said, compat)) for kind, truth, said in items]
    known = {kind for kinds in _GROUPS.values() for kind in kinds}
    scores = {"all": _scores(read, eps=1e-4, compat=compat)}
    for name, kinds in _GROUPS.items():
        is_rest = name == "relation"  # the script takes every other type for a relation
        own = [one for one in read if one[0] in kinds or (is_rest and one[0] not in known)]
        begin = 0.003 if name == "attribute" else 0.001  # the script adds three counters up
        scores[name] = _scores(own, eps=1e-3 if name == "existence" else 1e-4, begin=begin, compat=compat)
    return scores


def _scores(
    items: Sequence[tuple[str, str, str]], *, eps: float, begin: float = 0.001, compat: AmberCompat | None
) -> dict[str, float]:
    right = sum(truth == said for _, truth, said in items)
    said_no = [truth for _, truth, said in items if said == "no"]
    true_no = [said for _, truth, said in items if truth == "no"]
    shares = {
        "accuracy": (right, len(items)),
        "precision": (said_no.count("no"), len(said_no)),
        "recall": (true_no.count("no"), len(true_no)),
    }
    if compat == "reference":
        made = {name: round(own / (begin + whole) * 100, 1) for name, (own, whole) in shares.items()}
        precision, recall = made["precision"] / 100, made["recall"] / 100
        return {**made, "f1": round(2 * precision * recall / (precision + recall + eps) * 100, 1)}
    made = {name: 100 * own / whole for name, (own, whole) in shares.items() if whole}
    if said_no or true_no:
        both = 2 * said_no.count("no") / (len(said_no) + len(true_no))
        made["f1"] = 100 * both
    return made


def _answer(said: str, compat: AmberCompat | None) -> str:
    if compat == "reference":
        return {"Yes": "yes", "No": "no"}.get(said, "")
    match = _YES_NO.match(said)
    return match[1].lower() if match else ""


def _first(entries: Sequence[tuple[str, int]], test: Callable[[str], bool]) -> int | None:
    return next((number for word, number in entries if test(word)), None)


def _singulars(word: str) -> Sequence[str]:
    endings = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""), ("men", "man"), ("children", "child"))
    return [word[: len(word) - len(old)] + new for old, new in endings if word.endswith(old) and len(word) > len(old)]
