"""Same or not, and how many are the same: questions of any source of pairs, FGVQA among them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.sources import SOURCES, TINY, Source
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.generation import complete
from vlmzoo.evaluation.records import Generation, generation_of
from vlmzoo.evaluation.same_or_not import scores_of, summarise_answers
from vlmzoo.models.comparing import yes_no_log_odds
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring.answer_tag import COUNTS, YES_NO, AnswerParser, is_pair
from vlmzoo.scoring.statistics import Interval
from vlmzoo.types import Sample

__all__ = ["SameOrNotBenchmark"]


@BENCHMARKS.register(
    "same_or_not",
    source="TWIN, arXiv:2512.23592, section 4 (FGVQA: pair and multi queries)",
    tiny={"source": {"type": "fgvqa", "path": str(TINY / "twin" / "fgvqa" / "test.jsonl")}},
)
@dataclass(frozen=True, kw_only=True)
class SameOrNotBenchmark:
    """Pairs (yes or no) and counts (0 to 3), read by the parser that rewards; ``overall`` is the main score.

    The published protocol is ``compat: fgvqa`` with ``max_new_tokens: 1024``; its headline for a subset is ``overall``.

    Args:
        source: ``{type: name, …}`` for the source registry: ``fgvqa``, ``twin_pairs``, ``synthetic``, or one whose
            samples have ``question_type`` in their ``meta``.
        num: how many are asked; null for all.
        first: position of the first.
        compat: ``fgvqa`` reads answers as the released tasks do.
        swap_order: ask each pair a second time with its images in the other order.
        log_probs: look at the probabilities of yes and no where the answer begins.
        max_new_tokens: how long a completion may be.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if the source is too short.
    """

    nested_specs: ClassVar[NestedSpecs] = {"source": SOURCES.check}

    source: Mapping[str, Any]
    num: int | None = None
    first: int = 0
    compat: Literal["fgvqa"] | None = None
    swap_order: bool = False
    log_probs: bool = False
    max_new_tokens: int = 512
    expected: Expected | None = None
    _source: Source = field(init=False, repr=False, compare=False)
    _parsers: Mapping[bool, AnswerParser] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the source and the parsers."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        parsers = {pair: AnswerParser(labels=YES_NO if pair else COUNTS, compat=self.compat) for pair in (True, False)}
        object.__setattr__(self, "_parsers", parsers)
        object.__setattr__(self, "_source", SOURCES.build(self.source))
        size, asked = self._source.size, self.num_questions
        if asked < 1 or (size is not None and self.first + asked > size):
            raise ConfigError(
                f"`num` must be at least 1 and within the source, but {asked} from {self.first} on are asked for, and "
                f"it has {'no end' if size is None else size}."
            )

    @property
    def num_questions(self) -> int:
        """How many are asked."""
        return (self._source.size or 0) - self.first if self.num is None else self.num

    @property
    def identity(self) -> Mapping[str, Any]:
        """The source and the rest, as a configuration would spell them."""
        return {
            "type": "same_or_not",
            "source": dict(self.source),
            "num": self.num_questions,
            "first": self.first,
            "compat": self.compat,
            "swap_order": self.swap_order,
            "log_probs": self.log_probs,
            "max_new_tokens": self.max_new_tokens,
        }

    @property
    def scores(self) -> Mapping[str, Any]:
        """Answers are scored by what was asked, so there is no one score."""
        return {}

    def questions(self) -> Iterator[Sample]:
        """Read the questions one after the other, numbered by their positions."""
        for position in range(self.first, self.first + self.num_questions):
            yield replace(prompt_of(self._source.sample(position)), id=str(position))

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterator[Generation]:
        """Answer and score a batch of questions, in their order."""
        completions = complete(model, processor, samples, max_new_tokens=self.max_new_tokens)
        pairs = [number for number, sample in enumerate(samples) if is_pair(sample.meta.get("question_type"))]
        more: dict[int, dict[str, float]] = {number: {} for number in range(len(samples))}
        if self.log_probs and pairs:
            asked = [samples[number] for number in pairs]
            odds = yes_no_log_odds(model, asked, [completions[number].text for number in pairs])
            for number, value in zip(pairs, odds, strict=True):
                more[number]["log_odds"] = value
        if self.swap_order and pairs:
            turned = [replace(samples[number], images=list(reversed(samples[number].images))) for number in pairs]
            again = complete(model, processor, turned, max_new_tokens=self.max_new_tokens)
            for number, other in zip(pairs, again, strict=True):
                both = {self._parsers[True].parse(one.text).value for one in (other, completions[number])}
                more[number]["consistent"] = float(len(both) == 1)
        for number, (sample, completion) in enumerate(zip(samples, completions, strict=True)):
            pair = number in pairs
            found = self._parsers[pair].parse(completion.text)
            right = self._parsers[pair].agrees(completion.text, sample.reference)
            scores = scores_of(found.value, is_right=right, is_parsed=found.is_parsed, is_pair=pair)
            plain = generation_of(sample, completion, {})
            yield replace(plain, scores={**scores, **more[number]})

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> Mapping[str, Interval]:
        """Return the scores of all questions with their intervals, ``overall`` first."""
        return summarise_answers(generations, seed=seed)
