"""AMBER: what descriptions of 1,004 pictures cover and make up, and 14,216 yes-or-no questions about them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._described import RatioBenchmark
from vlmzoo.scoring.amber import AmberCounts, AmberVocabulary, amber_discriminative, count_mentions, find_words
from vlmzoo.scoring.hallucination import amber_f1
from vlmzoo.types import Sample, user

__all__ = ["AmberDiscriminativeBenchmark", "AmberGenerativeBenchmark", "numbers_of", "read_amber"]

Kind = Literal["generative", "discriminative"]


def read_amber(root: str, kind: Kind) -> list[dict[str, Any]]:
    """Return questions of AMBER with what is known of them: ``id``, ``image``, ``query`` and the annotation.

    Args:
        root: the repository's ``data`` folder, with ``annotations.json`` and ``query/``.
        kind: which of its two tasks.

    Raises:
        DataError: if a file is missing or is not what it should be.
    """
    folder = Path(root).expanduser()
    try:
        queries = json.loads((folder / "query" / f"query_{kind}.json").read_text(encoding="utf-8"))
        known = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
        by_id = {int(one["id"]): one for one in known}
        return [{**by_id[int(one["id"])], "image": one["image"], "query": one["query"]} for one in queries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"`{folder}` must be the `data` folder of AMBER's repository, with `annotations.json` and "
            f"`query/query_{kind}.json`, but cannot be read ({error!r}); clone junyangwang0410/AMBER."
        ) from error


@BENCHMARKS.register(
    "amber_generative",
    source="AMBER, arXiv:2311.07397, section 4; OViP, arXiv:2505.15963, for AMBER-F1",
    tiny={"root": str(TINY / "amber"), "image_folder": str(TINY / "amber")},
)
@dataclass(frozen=True, kw_only=True)
class AmberGenerativeBenchmark(RatioBenchmark):
    """CHAIR, Cover, Hal and Cog, and the F1 that OViP makes of the first two, as shares.

    Words of a description that AMBER's vocabulary holds count as its nouns, plurals as singulars; the released script
    tags parts of speech and compares word vectors, so published figures lie some points off.

    Args:
        root: the ``data`` folder of AMBER's repository.
        image_folder: with ``AMBER_1.jpg`` and so on.
        num_questions: the first so many; None for all.
        max_new_tokens: how long a description may be (OViP: 384).
        expected: ``{value: …, source: …}``, what a paper reports for CHAIR.

    Raises:
        ConfigError: if ``num_questions`` is out of range.
        DataError: if the files cannot be read.
    """

    root: str
    image_folder: str
    num_questions: int | None = None
    max_new_tokens: int = 384
    expected: Expected | None = None
    _rows: Sequence[Mapping[str, Any]] = field(init=False, repr=False, compare=False)
    _vocabulary: AmberVocabulary = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the annotations."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_rows", _first(read_amber(self.root, "generative"), self.num_questions))
        object.__setattr__(self, "num_questions", len(self._rows))
        object.__setattr__(self, "_vocabulary", _vocabulary(self.root))

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task and its size."""
        names = ("num_questions", "max_new_tokens")
        return {"type": "amber_generative", **{name: getattr(self, name) for name in names}}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """CHAIR first."""
        return {
            "chair": ("hallucinated", "mentions"),
            "cover": ("covered", "truth"),
            "hal": ("has_hallucination", "answers"),
            "cog": ("cognitive", "likely"),
        }

    @property
    def figures(self) -> Mapping[str, tuple[Sequence[str], Callable[..., float | None]]]:
        """AMBER-F1, of CHAIR and Cover."""
        return {"amber_f1": (("hallucinated", "mentions", "covered", "truth"), _amber_f1)}

    def questions(self) -> Iterator[Sample]:
        """Ask for a description of each picture."""
        prompt = load_prompts("ovip")["amber_generative"]
        for row in self._rows:
            yield Sample(
                messages=[user(prompt, num_images=1)],
                images=[Path(self.image_folder).expanduser() / row["image"]],
                id=str(row["id"]),
                reference={"truth": row["truth"], "hallu": row["hallu"]},
            )

    def counts_of(self, completion: str, sample: Sample) -> Mapping[str, float]:
        """Count mentions."""
        found = count_mentions(
            find_words(completion, self._vocabulary),
            truth=sample.reference["truth"],
            likely=sample.reference["hallu"],
            vocabulary=self._vocabulary,
        )
        return numbers_of(found)


def numbers_of(found: AmberCounts) -> dict[str, float]:
    """Return the counts of one description as its line of generations holds them."""
    names = ("hallucinated", "mentions", "covered", "truth", "cognitive", "likely")
    told = {name: float(getattr(found, name)) for name in names}
    return {**told, "has_hallucination": float(found.hallucinated > 0), "answers": 1.0}


def _amber_f1(hallucinated: float, mentions: float, covered: float, truth: float) -> float | None:
    if not mentions or not truth:
        return None
    return amber_f1(100 * hallucinated / mentions, 100 * covered / truth) / 100


@BENCHMARKS.register(
    "amber_discriminative",
    source="AMBER, arXiv:2311.07397, section 4",
    tiny={"root": str(TINY / "amber"), "image_folder": str(TINY / "amber")},
)
@dataclass(frozen=True, kw_only=True)
class AmberDiscriminativeBenchmark(RatioBenchmark):
    """Accuracy, precision, recall and F1 of yes-or-no questions, as shares; "No" is the positive class.

    Args:
        root: the ``data`` folder of AMBER's repository.
        image_folder: with ``AMBER_1.jpg`` and so on.
        num_questions: the first so many; None for all.
        max_new_tokens: how long an answer may be (OViP: 10).
        compat: ``reference`` takes ``Yes`` and ``No`` alone for answers, as the released script does.
        expected: ``{value: …, source: …}``, what a paper reports for F1.

    Raises:
        ConfigError: if ``num_questions`` is out of range.
        DataError: if the files cannot be read.
    """

    root: str
    image_folder: str
    num_questions: int | None = None
    max_new_tokens: int = 10
    compat: Literal["reference"] | None = None
    expected: Expected | None = None
    _rows: Sequence[Mapping[str, Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the annotations."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_rows", _first(read_amber(self.root, "discriminative"), self.num_questions))
        object.__setattr__(self, "num_questions", len(self._rows))

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, its size and how answers are read."""
        names = ("num_questions", "max_new_tokens", "compat")
        return {"type": "amber_discriminative", **{name: getattr(self, name) for name in names}}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """F1 first, as twice the right Noes over all that were said and all that are so."""
        return {
            "f1": ("twice_right_no", "said_or_true_no"),
            "accuracy": ("right", "answers"),
            "precision": ("right_no", "said_no"),
            "recall": ("right_no", "true_no"),
        }

    def questions(self) -> Iterator[Sample]:
        """Ask each question."""
        for row in self._rows:
            yield Sample(
                messages=[user(row["query"], num_images=1)],
                images=[Path(self.image_folder).expanduser() / row["image"]],
                id=str(row["id"]),
                reference=row["truth"],
                meta={"type": row["type"]},
            )

    def counts_of(self, completion: str, sample: Sample) -> Mapping[str, float]:
        """Read one answer."""
        item = (sample.meta["type"], str(sample.reference), completion.strip())
        told = amber_discriminative([item], compat=self.compat)["all"]
        right = float(told["accuracy"] > 50)
        is_no = float(str(sample.reference) == "no")
        asked_no = amber_discriminative([(item[0], "no", item[2])], compat=self.compat)["all"]
        said_no = float(asked_no["accuracy"] > 50)
        right_no = right * is_no
        return {
            "right": right,
            "answers": 1.0,
            "right_no": right_no,
            "said_no": said_no,
            "true_no": is_no,
            "twice_right_no": 2 * right_no,
            "said_or_true_no": said_no + is_no,
        }


def _first(rows: list[dict[str, Any]], num: int | None) -> list[dict[str, Any]]:
    if num is not None and not 1 <= num <= len(rows):
        raise ConfigError(f"`num_questions` must be from 1 to {len(rows)}, but is {num} instead.")
    return rows[:num]


def _vocabulary(root: str) -> AmberVocabulary:
    folder = Path(root).expanduser()
    try:
        association = json.loads((folder / "relation.json").read_text(encoding="utf-8"))
        safe = (folder / "safe_words.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"`{folder}` must hold `relation.json` and `safe_words.txt`, but {error}.") from error
    return AmberVocabulary(association=association, safe_words=[word.strip() for word in safe if word.strip()])
