"""Fresh questions from a synthetic task, and the control that shows whether the picture is looked at."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.scoring import SCORES, Score
from vlmzoo.types import Sample

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
        score: name in ``vlmzoo.scoring.SCORES``, or its ``{type: name, …}``.
        max_new_tokens: how long a completion may be.
        swap_images: give each question the image of another one. A model that reads the image must now fail.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if ``num_questions`` is too small, or there is no image to swap.
    """

    task: Mapping[str, Any]
    kind: str
    num_questions: int
    seed: int
    score: str | Mapping[str, Any] = "table_exact_match"
    max_new_tokens: int = 512
    swap_images: bool = False
    expected: Expected | None = None
    _task: Any = field(init=False, repr=False, compare=False)
    _score: Score = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the task and the score, and check that the question can be asked."""
        least = 2 if self.swap_images else 1
        if self.num_questions < least:
            raise ConfigError(f"`num_questions` must be at least {least}, but is {self.num_questions} instead.")
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_task", TASKS.build(self.task))
        object.__setattr__(self, "_score", SCORES.build(self._score_spec))
        if self.swap_images and not self._sample(0).images:
            raise ConfigError(
                f"`swap_images` must be false for questions without an image, but is true for kind `{self.kind}` "
                "instead; choose `kind: image`, or leave it out."
            )

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, its seed and the rest, as a configuration would spell them."""
        return {
            "type": "synthetic",
            "task": dict(self.task),
            "kind": self.kind,
            "num_questions": self.num_questions,
            "seed": self.seed,
            "score": dict(self._score_spec),
            "max_new_tokens": self.max_new_tokens,
            "swap_images": self.swap_images,
        }

    @property
    def scores(self) -> Mapping[str, Score]:
        """The one score, by its name."""
        return {self._score_spec["type"]: self._score}

    def questions(self) -> Iterator[Sample]:
        """Draw the questions one after the other; an image lives no longer than its question."""
        images_from = derangement(self.num_questions, seed=self.seed) if self.swap_images else None
        for index in range(self.num_questions):
            question = prompt_of(self._sample(index))
            if images_from is not None:
                other = self._sample(images_from[index])
                question = replace(question, images=other.images, meta={**question.meta, "images_from": other.id})
            yield question

    @property
    def _score_spec(self) -> Mapping[str, Any]:
        return {"type": self.score} if isinstance(self.score, str) else self.score

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
