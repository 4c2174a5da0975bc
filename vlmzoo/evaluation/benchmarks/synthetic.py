"""Fresh questions from a synthetic task, and the control that shows whether the picture is looked at."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring import SCORES, Score, check_scores
from vlmzoo.types import Sample, assistant

__all__ = ["SyntheticBenchmark", "derangement"]


@BENCHMARKS.register(
    "synthetic",
    source="S2H, arXiv:2501.02669, section 3: exact match on held-out instances of a synthetic task",
    tiny={
        "task": {"type": "consecutive_table_readout", "level": "simple"},
        "kind": "text",
        "num_questions": 2,
        "seed": 0,
    },
)
@dataclass(frozen=True, kw_only=True)
class SyntheticBenchmark:
    """Questions 0, 1, … of one seed of a synthetic task.

    Args:
        task: ``{type: name, level: …}`` of ``vlmzoo.data.synthetic.TASKS``.
        kind: how a question is put, e.g. ``text`` or ``image``.
        num_questions: how many are asked.
        seed: of the task; one that training does not use, so that the questions are unseen.
        score: name in ``vlmzoo.scoring.SCORES``, or its ``{type: name, …}``; or several, the main one first.
        max_new_tokens: how long a completion may be.
        swap_images: give each question the image of another one. A model that reads the image must now fail.
        force_conversion: begin each answer with the line that announces the text form, so that a model trained with
            ``image_via_text`` writes it down before it solves; with ``kind: image_via_text``. It costs about three
            times the tokens.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if ``num_questions`` is too small, there is no image to swap, a score is named twice, or another
            kind is to begin with a conversion.
    """

    nested_specs: ClassVar[NestedSpecs] = {"task": TASKS.check, "score": check_scores}

    task: Mapping[str, Any]
    kind: str
    num_questions: int
    seed: int
    score: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = "table_exact_match"
    max_new_tokens: int = 512
    swap_images: bool = False
    force_conversion: bool = False
    expected: Expected | None = None
    _task: Any = field(init=False, repr=False, compare=False)
    _scores: Mapping[str, Score] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the task and the score, and check that the question can be asked."""
        least = 2 if self.swap_images else 1
        if self.num_questions < least:
            raise ConfigError(f"`num_questions` must be at least {least}, but is {self.num_questions} instead.")
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_task", TASKS.build(self.task))
        built = [SCORES.build(spec) for spec in self._score_specs]
        names = [spec["type"] for spec in self._score_specs]
        object.__setattr__(self, "_scores", dict(zip(names, built, strict=True)))
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"`score` must name at least one score, and each once, but names {names} instead.")
        if self.force_conversion and self.kind != "image_via_text":
            raise ConfigError(
                f"`force_conversion` must be false unless `kind` is `image_via_text`, but is true for `{self.kind}`."
            )
        if self.force_conversion and not self._announcement(0):
            raise ConfigError(
                f"`force_conversion` must be false for `{self._task.name}`: its targets do not announce the text form."
            )
        if self.swap_images and not self._sample(0).images:
            raise ConfigError(
                f"`swap_images` must be false for questions without an image, but is true for kind `{self.kind}` "
                "instead; choose `kind: image`, or leave it out."
            )

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, its seed and the rest, as a configuration would spell them."""
        specs = [dict(spec) for spec in self._score_specs]
        return {
            "type": "synthetic",
            "task": dict(self.task),
            "kind": self.kind,
            "num_questions": self.num_questions,
            "seed": self.seed,
            "score": specs[0] if len(specs) == 1 else specs,
            "max_new_tokens": self.max_new_tokens,
            "swap_images": self.swap_images,
            **({"force_conversion": True} if self.force_conversion else {}),
        }

    @property
    def scores(self) -> Mapping[str, Score]:
        """The scores by name, the main one first."""
        return self._scores

    def questions(self) -> Iterator[Sample]:
        """Draw the questions one after the other; an image lives no longer than its question."""
        images_from = derangement(self.num_questions, seed=self.seed) if self.swap_images else None
        for index in range(self.num_questions):
            question = prompt_of(self._sample(index))
            if self.force_conversion:
                question = replace(question, messages=[*question.messages, assistant(self._announcement(index))])
            if images_from is not None:
                other = self._sample(images_from[index])
                question = replace(question, images=other.images, meta={**question.meta, "images_from": other.id})
            yield question

    @property
    def _score_specs(self) -> list[Mapping[str, Any]]:
        given = [self.score] if isinstance(self.score, str | Mapping) else list(self.score)
        return [{"type": score} if isinstance(score, str) else score for score in given]

    def _announcement(self, index: int) -> str:
        """Return what the target says before the text form."""
        instance = self._task.instance(self.seed, index)
        return self._task.response(instance, self.kind).partition(self._task.text_form(instance))[0]

    def _sample(self, index: int) -> Sample:
        return self._task.sample(self.kind, self.seed, index)


def derangement(num: int, *, seed: int) -> list[int]:
    """Return a permutation of ``0 … num - 1`` that leaves nothing in its place, drawn among the cyclic ones.

    Source: Sattolo, An algorithm to generate a random cyclic permutation, Information Processing Letters 22 (1986).

    Raises:
        ConfigError: if ``num`` is below 2, where there is none.
    """
    if num < 2:
        raise ConfigError(f"`num` must be at least 2 for a permutation without a fixed point, but is {num} instead.")
    permutation = list(range(num))
    generator = random.Random(seed)
    for last in range(num - 1, 0, -1):
        other = generator.randrange(last)
        permutation[last], permutation[other] = permutation[other], permutation[last]
    return permutation
