"""Run a benchmark: batched greedy answers, written as they come, scored, with an interval around each mean."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vlmzoo.data.json_lines import JsonLinesWriter
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import AnsweringBenchmark, Benchmark, Expected
from vlmzoo.evaluation.generation import complete
from vlmzoo.evaluation.records import Generation, claim_folder, generation_of, model_digest, read_generations
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["BenchmarkResult", "run_benchmark"]


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """What a benchmark says of a model.

    Args:
        scores: mean and interval by name; the first is the main one.
        generations: one for each question, in the order of the questions.
        expected: the paper's number, where there is one.
    """

    scores: Mapping[str, Interval]
    generations: Sequence[Generation]
    expected: Expected | None = None

    @property
    def main_score(self) -> str:
        """Name of the main score."""
        return next(iter(self.scores))

    @property
    def num_unfinished(self) -> int:
        """How many completions were cut at the limit."""
        return sum(not generation.finished for generation in self.generations)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return ``{score: {mean, low, high, num}}``, as it stands in ``scores.json``."""
        return {name: interval.to_dict() for name, interval in self.scores.items()}


def run_benchmark(
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    benchmark: Benchmark,
    *,
    out_dir: str | Path,
    batch_size: int,
    seed: int = 0,
    overwrite: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> BenchmarkResult:
    """Ask a model all questions of a benchmark and score what it says.

    Killed and run again, it goes on where it stopped: questions are asked in the same batches, and an answer that is
    on disk stands, so the file becomes the one that an uninterrupted run writes.

    Args:
        model: what is measured; ``generate`` as in transformers.
        processor: of the model.
        benchmark: what is asked.
        out_dir: where ``generations.jsonl`` goes.
        batch_size: prompts answered at once.
        seed: of the bootstrap.
        overwrite: whether answers of another model or benchmark in ``out_dir`` are thrown away.
        report: told the number of answered questions, and of all, after each batch.

    Raises:
        ConfigError: if ``batch_size`` is below 1.
        DataError: if ``out_dir`` holds another model's answers, or the benchmark's ids are not unique.
    """
    if batch_size < 1:
        raise ConfigError(f"`batch_size` must be at least 1, but is {batch_size} instead.")
    identity = {"benchmark": benchmark.identity, "model": model_digest(model, processor)}
    path = claim_folder(Path(out_dir), identity=identity, overwrite=overwrite)
    done = {generation.id: generation for generation in read_generations(path)}
    order: dict[str, None] = {}
    with JsonLinesWriter(path) as writer:
        for batch in _batches(benchmark.questions(), batch_size):
            _note_ids(batch, order)
            if any(sample.id not in done for sample in batch):
                for generation in _answer(model, processor, batch, benchmark):
                    if generation.id not in done:
                        writer.write(generation.to_dict())
                        done[generation.id] = generation
            if report is not None:
                report(len(order), benchmark.num_questions)
    generations = [done[id] for id in order]
    return BenchmarkResult(
        scores=_intervals(generations, benchmark, seed=seed),
        generations=generations,
        expected=benchmark.expected,
    )


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch


def _note_ids(batch: Sequence[Sample], order: dict[str, None]) -> None:
    for sample in batch:
        if not sample.id or sample.id in order:
            found = f"`{sample.id}` stands twice" if sample.id else "one is empty"
            raise DataError(
                f"The `id` of a question must be its own, but {found} instead; number the questions of the benchmark."
            )
        order[sample.id] = None


def _answer(
    model: "PreTrainedModel", processor: "ProcessorMixin", batch: Sequence[Sample], benchmark: Benchmark
) -> Iterator[Generation]:
    """Answer and score one batch. It is always asked whole, as padding may move the last bits of an answer."""
    if isinstance(benchmark, AnsweringBenchmark):
        yield from benchmark.answer(model, processor, batch)
        return
    completions = complete(model, processor, batch, max_new_tokens=benchmark.max_new_tokens)
    for sample, completion in zip(batch, completions, strict=True):
        yield generation_of(sample, completion, benchmark.scores)


def _intervals(generations: Sequence[Generation], benchmark: Benchmark, *, seed: int) -> Mapping[str, Interval]:
    if isinstance(benchmark, AnsweringBenchmark):
        return benchmark.summarise(generations, seed=seed)
    return {name: bootstrap_interval([g.scores[name] for g in generations], seed=seed) for name in benchmark.scores}
