"""Questions from any source of conversations; what the assistant says last is the reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from vlmzoo.data.conversations import prompt_of, text_of
from vlmzoo.data.sources import SOURCES, Source
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring import SCORES, Score, check_scores
from vlmzoo.types import Sample

__all__ = ["ConversationsBenchmark"]


@BENCHMARKS.register(
    "conversations",
    source="vlmzoo's own: held-out conversations, scored against what their assistant says",
    tiny={"source": {"type": "colour_panels"}, "num_questions": 2},
)
@dataclass(frozen=True, kw_only=True)
class ConversationsBenchmark:
    """The conversations of a source, from a position on, without their last answer.

    Args:
        source: ``{type: name, …}`` for the source registry.
        num_questions: how many are asked.
        first: position of the first; beyond what training uses, so that the questions are unseen.
        score: name in ``vlmzoo.scoring.SCORES``, or its ``{type: name, …}``.
        max_new_tokens: how long a completion may be.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if the source is too short.
    """

    nested_specs: ClassVar[NestedSpecs] = {"source": SOURCES.check, "score": check_scores}

    source: Mapping[str, Any]
    num_questions: int
    first: int = 0
    score: str | Mapping[str, Any] = "exact_match"
    max_new_tokens: int = 32
    expected: Expected | None = None
    _source: Source = field(init=False, repr=False, compare=False)
    _score: Score = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the source and the score."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_source", SOURCES.build(self.source))
        object.__setattr__(self, "_score", SCORES.build(self._score_spec))
        size = self._source.size
        if self.num_questions < 1 or (size is not None and self.first + self.num_questions > size):
            raise ConfigError(
                f"`num_questions` must be at least 1 and within the source, but {self.num_questions} from "
                f"{self.first} on are asked for, and it has {'no end' if size is None else size}."
            )

    @property
    def identity(self) -> Mapping[str, Any]:
        """The source and the rest, as a configuration would spell them."""
        return {
            "type": "conversations",
            "source": dict(self.source),
            "num_questions": self.num_questions,
            "first": self.first,
            "score": dict(self._score_spec),
            "max_new_tokens": self.max_new_tokens,
        }

    @property
    def scores(self) -> Mapping[str, Score]:
        """The one score, by its name."""
        return {self._score_spec["type"]: self._score}

    def questions(self) -> Iterator[Sample]:
        """Read the questions one after the other, numbered by their positions."""
        for position in range(self.first, self.first + self.num_questions):
            sample = self._source.sample(position)
            question = prompt_of(sample)
            answer = text_of([{"role": "assistant", "content": sample.messages[-1]["content"]}])
            reference = answer if sample.reference is None else sample.reference
            yield replace(question, id=str(position), reference=reference)

    @property
    def _score_spec(self) -> Mapping[str, Any]:
        return {"type": self.score} if isinstance(self.score, str) else self.score
