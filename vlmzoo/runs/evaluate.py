"""Measure what a configuration describes: load the model, ask the benchmarks, print the table."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from rich.console import Console

from vlmzoo.config import EvalConfig, dump_resolved
from vlmzoo.evaluation import BenchmarkResult, evaluate_model, scores_table
from vlmzoo.evaluation.lmms_tasks import evaluate_tasks, task_table
from vlmzoo.runs.checking import check_evaluation
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.models import model_of
from vlmzoo.runs.progress import RunProgress

__all__ = ["evaluate_run", "progress_by_label"]


def evaluate_run(config: EvalConfig, *, overwrite: bool = False) -> dict[str, BenchmarkResult]:
    """Evaluate a model on benchmarks, into one folder; killed and run again, it goes on.

    Args:
        config: which model, which benchmarks, where to.
        overwrite: whether answers of another model or benchmark in the folder are thrown away.

    Returns:
        A result for each label; ``scores.json`` in the folder holds the same, ``lmms_eval/scores.json`` what lmms-eval
        found.

    Raises:
        ConfigError: if the folder cannot be written to, or the configuration cannot be built.
        DataError: if the folder holds another model's answers.
        CheckpointError: if the model cannot be loaded whole.
        MissingExtraError: if lmms-eval is to ask and is not installed.
    """
    check_evaluation(config)
    folder = RunFolder(config.output_dir).ensure()
    model, processor = model_of(config.model, device="cuda" if torch.cuda.is_available() else "cpu")
    dump_resolved(config, folder.root)
    with progress_by_label() as report:
        results = evaluate_model(
            model,
            processor,
            config.benchmarks,
            out_dir=folder.root,
            batch_size=config.batch_size,
            seed=config.seed,
            overwrite=overwrite,
            report=report,
        )
    if results:
        Console().print(scores_table(results, title=str(folder.root)))
    if config.lmms_eval is not None:
        told = folder.root / "lmms_eval"
        scores = evaluate_tasks(model, processor, config.lmms_eval, out_dir=told, batch_size=config.batch_size)
        Console().print(task_table(scores))
    return results


@contextmanager
def progress_by_label(console: Console | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar after the other; what it gives is the ``report`` of ``evaluate_model``.

    Args:
        console: where to show them; standard error if left out.
    """
    bars: dict[str, RunProgress] = {}
    with ExitStack() as stack:

        def report(label: str, num_done: int, num_questions: int) -> None:
            if label not in bars:
                stack.close()  # the bar of the label before
                bars[label] = stack.enter_context(RunProgress(label, num_questions, console=console))
            bars[label].update(num_done)

        yield report
