"""Benchmarks whose figures are ratios of sums over answers: the questions, the counts of each, and the intervals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vlmzoo.evaluation.generation import complete
from vlmzoo.evaluation.records import Generation, generation_of
from vlmzoo.scoring.hallucination import ratio_interval, sums_interval
from vlmzoo.scoring.statistics import Interval
from vlmzoo.types import Sample

__all__ = ["RatioBenchmark"]


class RatioBenchmark:
    """Asks, counts what each answer holds, and divides sums of counts.

    Subclasses give ``questions``, ``num_questions``, ``max_new_tokens``, :meth:`counts_of` and :attr:`ratios`.
    """

    max_new_tokens: int

    @property
    def scores(self) -> Mapping[str, Any]:
        """None of one answer alone: what counts is counted by :meth:`counts_of`."""
        return {}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """Figures by name, as names of counts: above, below; the first is the main one."""
        raise NotImplementedError

    @property
    def figures(self) -> Mapping[str, tuple[Sequence[str], Callable[..., float | None]]]:
        """Figures that are no ratio: names of counts, and what makes the figure of their sums."""
        return {}

    def counts_of(self, completion: str, sample: Sample) -> Mapping[str, float]:
        """Return what an answer holds; counts that a ratio names and that are missing keep the answer out of it."""
        raise NotImplementedError

    def counts_of_many(self, answers: Sequence[tuple[str, Sample]]) -> list[Mapping[str, float]]:
        """Return the counts of several answers; overridden where a judge is asked for all at once."""
        return [self.counts_of(completion, sample) for completion, sample in answers]

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterable[Generation]:
        """Answer a batch, and count."""
        completions = complete(model, processor, samples, max_new_tokens=self.max_new_tokens)
        counts = self.counts_of_many([(one.text, sample) for one, sample in zip(completions, samples, strict=True)])
        for sample, completion, own in zip(samples, completions, counts, strict=True):
            told = generation_of(sample, completion, {}).to_dict()
            yield Generation(**{**told, "scores": {name: float(value) for name, value in own.items()}})

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> Mapping[str, Interval]:
        """Divide sums of counts, with intervals over answers; a figure that nothing speaks for is left out."""
        found: dict[str, Interval] = {}
        for name, (above, below) in self.ratios.items():
            pairs = [(one.scores[above], one.scores[below]) for one in generations if {above, below} <= set(one.scores)]
            if pairs:
                found[name] = ratio_interval([a for a, _ in pairs], [b for _, b in pairs], seed=seed)
        for name, (counts, figure) in self.figures.items():
            rows = [[one.scores[own] for own in counts] for one in generations if set(counts) <= set(one.scores)]
            if rows:
                found[name] = sums_interval(rows, figure, seed=seed)
        return found
