"""Object HalBench: the COCO objects that answers mention, against those that annotators saw."""

import base64
import binascii
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from vlmzoo.data.conversations import words_of
from vlmzoo.data.images import load_image
from vlmzoo.data.json_lines import read_json_lines
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._described import RatioBenchmark
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring.chair import ChairCounts, ObjectVocabulary, count_objects, read_object_list
from vlmzoo.scoring.hallucination import object_f1
from vlmzoo.services.chat import CHAT_CLIENTS, ChatClient, ChatRequest, filled
from vlmzoo.types import ImageLike, Sample, user

__all__ = ["ObjectHalBenchmark", "numbers_of"]

_TINY = TINY / "object_halbench"
_FEW_WORDS = 3
"""An answer of so few words is not sent to the extractor; the released script then breaks."""


@BENCHMARKS.register(
    "object_halbench",
    source="Object HalBench in RLHF-V, arXiv:2312.00849, section 4.1; OViP, arXiv:2505.15963, for ObjectHal-F1",
    tiny={
        "questions_file": str(_TINY / "questions.jsonl"),
        "image_folder": str(_TINY),
        "instances": [str(_TINY / "instances.json")],
        "captions": [str(_TINY / "captions.json")],
        "synonyms": str(_TINY / "synonyms.txt"),
    },
)
@dataclass(frozen=True, kw_only=True)
class ObjectHalBenchmark(RatioBenchmark):
    """CHAIR of objects and of answers, precision, recall and F1 of objects, as shares.

    Args:
        questions_file: JSON lines with ``image_id``, ``question`` (or ``prompt``) and ``image``: a path, or the picture
            in base64.
        image_folder: where relative paths start.
        instances: COCO's ``instances_*.json``, whose categories are there.
        captions: COCO's ``captions_*.json``, whose objects are there, too.
        synonyms: a line for each object, its own name first, separated by commas.
        extractor: ``{type: openai, …}``, a chat client that lists the objects of an answer, as published figures have
            it (GPT-4o); None finds the vocabulary's own words.
        num_questions: the first so many; None for all.
        max_new_tokens: how long an answer may be (OViP: 384).
        expected: ``{value: …, source: …}``, for ``chair_i``.

    Raises:
        ConfigError: if ``num_questions`` is out of range.
        DataError: if a file cannot be read.
    """

    nested_specs: ClassVar[NestedSpecs] = {"extractor": CHAT_CLIENTS.check}

    questions_file: str
    image_folder: str
    instances: Sequence[str]
    captions: Sequence[str] = ()
    synonyms: str
    extractor: Mapping[str, Any] | None = None
    num_questions: int | None = None
    max_new_tokens: int = 384
    expected: Expected | None = None
    _rows: Sequence[Mapping[str, Any]] = field(init=False, repr=False, compare=False)
    _vocabulary: ObjectVocabulary = field(init=False, repr=False, compare=False)
    _truth: Mapping[int, Sequence[str]] = field(init=False, repr=False, compare=False)
    _client: ChatClient | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read questions and annotations."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        path = Path(self.questions_file).expanduser()
        rows = read_json_lines(path)
        num = len(rows) if self.num_questions is None else self.num_questions
        if not 1 <= num <= len(rows):
            raise ConfigError(f"`num_questions` must be from 1 to the {len(rows)} of `{path}`, but is {num} instead.")
        object.__setattr__(self, "_rows", rows[:num])
        object.__setattr__(self, "num_questions", num)
        lines = _text(self.synonyms).splitlines()
        words = [[word.strip() for word in line.split(",") if word.strip()] for line in lines if line.strip()]
        object.__setattr__(self, "_vocabulary", ObjectVocabulary(words))
        object.__setattr__(self, "_truth", self._annotated({int(row["image_id"]) for row in self._rows}))
        object.__setattr__(self, "_client", None if self.extractor is None else CHAT_CLIENTS.build(self.extractor))

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, its size, and what finds objects."""
        extractor = None if self._client is None else dict(self._client.identity)
        names = ("num_questions", "max_new_tokens")
        return {"type": "object_halbench", "extractor": extractor, **{name: getattr(self, name) for name in names}}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """CHAIR of objects first; ``response_hall`` is of the answers that mention any."""
        return {
            "chair_i": ("wrong", "mentioned"),
            "response_hall": ("is_wrong", "mentions_any"),
            "chair_s": ("is_wrong", "answers"),
            "precision": ("good", "mentioned"),
            "recall": ("right", "truth"),
            "num_words": ("words", "answers"),
        }

    @property
    def figures(self) -> Mapping[str, tuple[Sequence[str], Callable[..., float | None]]]:
        """ObjectHal-F1, of precision and recall."""
        return {"objecthal_f1": (("good", "mentioned", "right", "truth"), _objecthal_f1)}

    def questions(self) -> Iterator[Sample]:
        """Ask each question."""
        for number, row in enumerate(self._rows):
            yield Sample(
                messages=[user(str(row.get("question", row.get("prompt", ""))), num_images=1)],
                images=[_picture(row["image"], Path(self.image_folder).expanduser())],
                id=f"{number}-{row['image_id']}",
                reference=list(self._truth[int(row["image_id"])]),
            )

    def counts_of_many(self, answers: Sequence[tuple[str, Sample]]) -> list[Mapping[str, float]]:
        """Find the objects of all answers, and count."""
        found = self._extracted(answers)
        return [
            {} if objects is None else self._counts(objects, text, sample)
            for objects, (text, sample) in zip(found, answers, strict=True)
        ]

    def _extracted(self, answers: Sequence[tuple[str, Sample]]) -> list[list[str] | None]:
        """Return the objects of each answer, each once; None where the extractor gave no list."""
        if self._client is None:
            return [self._words(text) for text, _ in answers]
        wanted = [number for number, (text, _) in enumerate(answers) if len(text.split()) > _FEW_WORDS]
        template = load_prompts("ovip")["object_halbench_extract"]
        requests = []
        for number in wanted:
            text, sample = answers[number]
            question = words_of(sample.messages[0])
            prompt = filled(template, {"question": question, "answer": text})
            requests.append(ChatRequest(messages=[{"role": "system", "content": prompt}]))
        replies = self._client.reply(requests)
        found: list[list[str] | None] = [self._words(text) for text, _ in answers]
        for number, reply in zip(wanted, replies, strict=True):
            listed = None if reply.text is None else read_object_list(reply.text)
            words = None if listed is None else [word for name in listed for word in self._words(name)]
            found[number] = None if words is None else list(dict.fromkeys(words))  # over all names: one object once
        return found

    def _words(self, text: str) -> list[str]:
        """Return the vocabulary's words of a text, each once, pairs of words before single ones."""
        singular = [_singular(word, self._vocabulary) for word in re.findall(r"[a-z]+", text.lower())]
        return list(dict.fromkeys(word for word, _ in self._vocabulary.merge(singular)))

    def _counts(self, objects: Sequence[str], text: str, sample: Sample) -> Mapping[str, float]:
        return numbers_of(
            count_objects(objects, truth=sample.reference, vocabulary=self._vocabulary, num_words=len(text.split()))
        )

    def _annotated(self, wanted: set[int]) -> dict[int, list[str]]:
        """Return the objects of each picture: categories of instances, and words of captions."""
        truth: dict[int, set[str]] = defaultdict(set)
        for content in (_json(path) for path in self.instances):
            names = {int(one["id"]): str(one["name"]) for one in content["categories"]}
            for one in content["annotations"]:
                if int(one["image_id"]) in wanted:
                    name = names[int(one["category_id"])]
                    truth[int(one["image_id"])].add(self._vocabulary.node_of.get(name, name))
        for content in (_json(path) for path in self.captions):
            for one in content["annotations"]:
                if int(one["image_id"]) in wanted:
                    found = self._vocabulary.objects_in(self._words(one["caption"]))
                    truth[int(one["image_id"])].update(node for _, node in found)
        missing = sorted(wanted - truth.keys())
        if missing:
            raise DataError(
                f"`instances` and `captions` must be about all pictures that are asked about, but say nothing of "
                f"{missing[:3]}; give those of both splits (train2014 and val2014)."
            )
        return {number: sorted(objects) for number, objects in truth.items()}


def numbers_of(made: ChairCounts) -> dict[str, float]:
    """Return the counts of one answer as its line of generations holds them."""
    return {
        "wrong": float(len(made.wrong)),
        "good": float(made.mentioned - len(made.wrong)),
        "mentioned": float(made.mentioned),
        "is_wrong": float(bool(made.wrong)),
        "mentions_any": float(made.mentioned > 0),
        "answers": 1.0,
        "right": float(made.right),
        "truth": float(made.truth),
        "words": float(made.num_words),
    }


def _objecthal_f1(good: float, mentioned: float, right: float, truth: float) -> float | None:
    return object_f1(good / mentioned, right / truth) if mentioned and truth else None


def _singular(word: str, vocabulary: ObjectVocabulary) -> str:
    """Return a word, or its singular where the vocabulary knows that one alone."""
    if word in vocabulary.node_of:
        return word
    endings = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""), ("people", "person"), ("men", "man"))
    for old, new in endings:
        shorter = word[: len(word) - len(old)] + new
        if word.endswith(old) and shorter in vocabulary.node_of:
            return shorter
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _picture(value: str, folder: Path) -> ImageLike:
    path = folder / value
    if len(value) < 1024 and path.suffix:
        return path
    try:
        return load_image(Image.open(io.BytesIO(base64.b64decode(value, validate=True))))
    except (OSError, binascii.Error) as error:
        raise DataError(f"`image` must be a path or a picture in base64, but is {value[:40]!r}… ({error}).") from error


def _text(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` must be a text file of this benchmark, but cannot be read: {error}.") from error


def _json(path: str) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise DataError(f"`{path}` must be JSON of COCO's form, but is not: {error}.") from error
    if not isinstance(found, dict) or "annotations" not in found:
        raise DataError(f"`{path}` must be JSON of COCO's form with `annotations`, but has none.")
    return found
