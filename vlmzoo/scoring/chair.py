"""CHAIR: how many of the objects that a description mentions are not there; with the rules of Object HalBench.

Source: CHAIR, arXiv:1809.02156, section 3; Object HalBench as in RLHF-V, arXiv:2312.00849, section 4.1.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from vlmzoo.errors import DataError

__all__ = ["ChairCompat", "ChairCounts", "ObjectVocabulary", "chair_scores", "count_objects", "read_object_list"]

ChairCompat: TypeAlias = Literal["reference"]
"""``reference``: as the released script divides, so that no object at all is an error."""

_ANIMALS = ["bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub"]
_AGES, _VEHICLES = ("baby", "adult"), ("jet", "train")
_ALWAYS = {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}
_NO_OBJECTS = ("home plate", "train track")


@dataclass(frozen=True)
class ObjectVocabulary:
    """Objects and their synonyms.

    Args:
        synonyms: a list for each object, the object's own name first.
    """

    synonyms: Sequence[Sequence[str]]
    node_of: Mapping[str, str] = field(init=False)
    merged: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Index the words."""
        nodes = {word: words[0] for words in self.synonyms for word in words}
        pairs = {word: word for word in (*nodes, *_NO_OBJECTS) if len(word.split(" ")) >= 2}
        pairs |= {f"{age} {animal}": animal for age in _AGES for animal in _ANIMALS}
        pairs |= {f"passenger {vehicle}": vehicle for vehicle in _VEHICLES}
        object.__setattr__(self, "node_of", nodes)
        object.__setattr__(self, "merged", {**pairs, **_ALWAYS})

    def merge(self, words: Sequence[str]) -> list[tuple[str, bool]]:
        """Return words from left to right, two neighbours that mean one object as that; and whether they do."""
        found: list[tuple[str, bool]] = []
        place = 0
        while place < len(words):
            pair = self.merged.get(" ".join(words[place : place + 2]))
            found.append((words[place], False) if pair is None else (pair, True))
            place += 1 if pair is None else 2
        return found

    def pairs_in(self, words: Sequence[str]) -> list[str]:
        """Return what pairs of neighbouring words mean, as the script of Object HalBench lists it, to be compared with.

        They stand from left to right; single words are passed over. What is counted comes from ``merge``.
        """
        return [word for word, is_pair in self.merge(words) if is_pair]

    def objects_in(self, words: Iterable[str]) -> list[tuple[str, str]]:
        """Return the words that mean an object, with that object; a seat beside a toilet means none."""
        said = list(words)
        if "toilet" in said and "seat" in said:
            said = [word for word in said if word != "seat"]
        return [(word, self.node_of[word]) for word in said if word in self.node_of]


@dataclass(frozen=True, kw_only=True)
class ChairCounts:
    """What one description mentions.

    Args:
        wrong: the objects that are not there, by name, with repetitions.
        mentioned: how many objects are mentioned.
        right: how many distinct objects of the truth are mentioned.
        truth: how many objects there are.
        num_words: of the description.
    """

    wrong: tuple[str, ...]
    mentioned: int
    right: int
    truth: int
    num_words: int = 0

    @property
    def share(self) -> float:
        """The share of mentions that are wrong; 0 where nothing is mentioned."""
        return len(self.wrong) / self.mentioned if self.mentioned else 0.0


def count_objects(
    objects: Sequence[str], *, truth: Sequence[str], vocabulary: ObjectVocabulary, num_words: int = 0
) -> ChairCounts:
    """Count the objects of one description.

    Args:
        objects: that were read in it.
        truth: that are there.
        vocabulary: whose objects count.
        num_words: of the description.
    """
    found = [node for _, node in vocabulary.objects_in(objects)]
    there = set(truth)
    return ChairCounts(
        wrong=tuple(node for node in found if node not in there),
        mentioned=len(found),
        right=len({node for node in found if node in there}),
        truth=len(there),
        num_words=num_words,
    )


def chair_scores(counts: Sequence[ChairCounts], *, compat: ChairCompat | None = None) -> dict[str, float]:
    """Return the scores of descriptions as the released script of Object HalBench divides them, to be compared with.

    The benchmark ``object_halbench`` divides the same counts, with intervals; goldens hold the two against each other.

    Returns:
        ``chair_i``: wrong objects of all; ``chair_s``: descriptions with a wrong object; ``chair_s_refined``: the same
        of those that mention an object at all; ``precision`` and ``recall`` of objects, and ``f1``. One that has
        nothing to divide by is left out.

    Raises:
        DataError: with ``compat``, where the script divides by zero.
    """
    mentioned, truth = sum(one.mentioned for one in counts), sum(one.truth for one in counts)
    with_objects = sum(one.mentioned > 0 for one in counts)
    if compat == "reference" and not (counts and mentioned and truth):
        raise DataError(f"The reference divides by zero: {mentioned} objects are mentioned, and {truth} are there.")
    num_wrong, num_bad = sum(len(one.wrong) for one in counts), sum(bool(one.wrong) for one in counts)
    shares = {
        "chair_i": (num_wrong, mentioned),
        "chair_s": (num_bad, len(counts)),
        "chair_s_refined": (num_bad, with_objects),
        "recall": (sum(one.right for one in counts), truth),
        "num_words": (sum(one.num_words for one in counts), len(counts)),
    }
    made = {name: own / whole for name, (own, whole) in shares.items() if whole}
    if "chair_i" in made:
        made["precision"] = 1 - made["chair_i"]
        if "recall" in made:
            total = made["precision"] + made["recall"]
            made["f1"] = 2 * made["precision"] * made["recall"] / total if total else 0.0
    return made


def read_object_list(text: str, *, compat: ChairCompat | None = None) -> list[str] | None:
    """Return the objects that a model lists, None where there is no list.

    Args:
        text: that should hold a JSON list of names.
        compat: ``reference`` takes the whole text, the text without its fence, or the last line.
    """
    if compat == "reference":
        tries = [text]
        if "```json" in text:
            tries.append(text.replace("```json", "").replace("```", "").strip())
        elif '["' in text:
            tries.append(text.strip().split("\n")[-1])
        found = next((value for value in map(_parsed, tries) if value is not None), None)
    else:
        start, end = text.find("["), text.rfind("]")
        found = _parsed(text[start : end + 1]) if 0 <= start < end else None
    return [str(name) for name in cast("list[Any]", found)] if isinstance(found, list) else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
