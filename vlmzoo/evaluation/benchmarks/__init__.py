"""Benchmarks: questions, how their answers are scored, and the number that a paper gives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vlmzoo.errors import ConfigError
from vlmzoo.registry import Registry
from vlmzoo.scoring import Score
from vlmzoo.types import Sample

if TYPE_CHECKING:
    from vlmzoo.evaluation.records import Generation
    from vlmzoo.scoring.statistics import Interval

__all__ = ["BENCHMARKS", "AnsweringBenchmark", "Benchmark", "Expected"]


@dataclass(frozen=True)
class Expected:
    """What a paper reports for the main score.

    Args:
        value: in the unit of the score, e.g. 0.93.
        source: paper, table and model, e.g. ``"arXiv:2501.02669, table 2, Mix+"``.
    """

    value: float
    source: str

    @classmethod
    def parse(cls, spec: "Expected | Mapping[str, Any] | None") -> "Expected | None":
        """Read ``{value: …, source: …}`` as a configuration writes it.

        Raises:
            ConfigError: if a key is missing or unknown.
        """
        if spec is None or isinstance(spec, Expected):
            return spec
        if not isinstance(spec, Mapping) or set(spec) != {"value", "source"}:
            raise ConfigError(f"`expected` must be a mapping of `value` and `source`, but is {spec!r} instead.")
        return cls(value=float(spec["value"]), source=str(spec["source"]))


class Benchmark(Protocol):
    """Questions with references, and the scores that compare answers with them."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides which questions are asked and how they are judged, as JSON values."""
        ...

    @property
    def num_questions(self) -> int:
        """How many samples ``questions`` gives."""
        ...

    @property
    def scores(self) -> Mapping[str, Score]:
        """Scores by name; the first is the main one."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """How long a completion may be."""
        ...

    @property
    def expected(self) -> Expected | None:
        """The paper's number, where there is one."""
        ...

    def questions(self) -> Iterable[Sample]:
        """Return the samples, each ending with a user turn; the same, in the same order, at each call."""
        ...


@runtime_checkable
class AnsweringBenchmark(Benchmark, Protocol):
    """A benchmark that asks the model itself, because its answers are more than text."""

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> "Iterable[Generation]":
        """Answer and score a batch of questions, in their order."""
        ...

    def summarise(self, generations: "Sequence[Generation]", *, seed: int) -> "Mapping[str, Interval]":
        """Return the scores of all questions with their intervals; the first is the main one."""
        ...


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", "vlmzoo.evaluation.benchmarks")
