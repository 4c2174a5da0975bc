"""What is told of a run while it goes: journal, progress, trackers, samples."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any

from vlmzoo.checkpoint.training import random_state, set_random_state
from vlmzoo.config.schema import RunConfig
from vlmzoo.data.json_lines import JsonLinesWriter
from vlmzoo.distributed import barrier, is_main
from vlmzoo.evaluation import BENCHMARKS, complete, evaluate_model
from vlmzoo.integrations.trackers import make_trackers
from vlmzoo.loop import StepReport
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import Journal, keep_steps
from vlmzoo.runs.memory import rss_mb
from vlmzoo.runs.progress import RunProgress
from vlmzoo.types import Sample

__all__ = ["make_reports"]

_QUESTIONS_PER_BENCHMARK = 2

Report = Callable[[StepReport], None]


@contextmanager
def make_reports(
    config: RunConfig, folder: RunFolder, model: Any, processor: Any, steps_taken: int = 0
) -> Iterator[list[Report]]:
    """Yield the callables that the loop tells of each step; rank 0 writes, the others keep silent.

    Args:
        config: says which trackers, and how often the model is asked something.
        folder: where they write.
        model: asked for samples.
        processor: of the model.
        steps_taken: by a part of the run that was stopped; its lines stay.
    """
    with ExitStack() as stack:
        reports: list[Report] = []
        if is_main():
            keep_steps(folder.journal, steps_taken)
            keep_steps(folder.samples, steps_taken)
            reports += _writers(config, folder, stack, steps_taken)
        if config.samples_every and config.evaluation:
            questions = [
                list(islice(BENCHMARKS.build(spec).questions(), _QUESTIONS_PER_BENCHMARK))
                for spec in config.evaluation.values()
            ]
            reports.append(_Sampler(config, folder, model, processor, questions))
        if config.evaluate_every and config.evaluation:
            reports.append(_Evaluator(config, folder, model, processor))
        yield reports


def _writers(config: RunConfig, folder: RunFolder, stack: ExitStack, steps_taken: int) -> list[Report]:
    journal = Journal(folder.journal)
    stack.callback(journal.close)
    progress = stack.enter_context(RunProgress("step", config.num_steps, done=steps_taken))
    trackers = make_trackers(
        config.report_to,
        run_dir=folder.root,
        run_name=folder.root.name,
        config=config.model_dump(mode="json"),
        is_resumed=steps_taken > 0,
    )
    for tracker in trackers:
        stack.callback(tracker.close)

    def tell(report: StepReport) -> None:
        record = {**report.record(), "rss_mb": rss_mb()}
        journal.write(record)
        progress.update(report.step, record)
        for tracker in trackers:
            tracker.log(report.step, record)

    return [tell]


class _Sampler:
    """Asks the model the same few questions every so often and writes down what it says."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, model: Any, processor: Any, questions: list[list[Sample]]
    ) -> None:
        self.every = config.samples_every
        self.limit = max(spec.get("max_new_tokens", 512) for spec in config.evaluation.values())
        self.path = folder.samples
        self.model, self.processor, self.questions = model, processor, questions

    def __call__(self, report: StepReport) -> None:
        """Ask after every ``samples_every`` steps; all ranks ask, since ZeRO-3 needs them all, and rank 0 writes."""
        if report.step % self.every:
            return
        answers = [  # benchmark by benchmark, for one may begin the answers and another not
            complete(self.model, self.processor, asked, max_new_tokens=self.limit) for asked in self.questions
        ]
        if not is_main():
            return
        writer = JsonLinesWriter(self.path)
        pairs = zip(chain.from_iterable(self.questions), chain.from_iterable(answers), strict=True)
        for question, answer in pairs:
            line = {"step": report.step, "id": question.id, "completion": answer.text, "reference": question.reference}
            writer.write(line)
        writer.close()


class _Evaluator:
    """Asks all benchmarks every so often, as the end of the run does, on rank 0; the run itself notices nothing."""

    def __init__(self, config: RunConfig, folder: RunFolder, model: Any, processor: Any) -> None:
        self.config, self.folder = config, folder
        self.model, self.processor = model, processor

    def __call__(self, report: StepReport) -> None:
        """Ask after every ``evaluate_every`` steps but the last, which has the evaluation of the run."""
        if report.step % self.config.evaluate_every or report.step >= self.config.num_steps:
            return
        if is_main():
            before, was_training = random_state(), self.model.training
            self.model.eval()
            evaluate_model(
                self.model,
                self.processor,
                self.config.evaluation,
                out_dir=self.folder.evaluation_at(report.step),
                batch_size=self.config.eval_batch_size,
                seed=self.config.seed,
                overwrite=True,
            )
            self.model.train(was_training)
            set_random_state(before)
        barrier()
