"""The end of a run: the model is evaluated, loaded back, and reported on."""

import time
from typing import Any

from rich.console import Console

from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import is_main, sum_over_ranks
from vlmzoo.evaluation import BENCHMARKS, BenchmarkResult, evaluate_model, scores_table
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.memory import peak_rss_mb
from vlmzoo.runs.progress import RunProgress
from vlmzoo.runs.quality import gallery_of, reload_is_identical
from vlmzoo.runs.report import write_report

__all__ = ["conclude"]


def conclude(config: RunConfig, folder: RunFolder, model: Any, processor: Any, train_seconds: float) -> dict[str, Any]:
    """Evaluate and reload on rank 0, and write the report; all ranks must call.

    Args:
        config: of the run.
        folder: where ``final/`` stands.
        model: as trained, in evaluation mode.
        processor: of the model.
        train_seconds: that training took, all parts of a run that was stopped included.

    Returns:
        The figures of ``report.json``; empty on other ranks.
    """
    peaks = sum_over_ranks({"peak_rss_mb": peak_rss_mb()})
    if not is_main():
        return {}
    started = time.perf_counter()
    results = _evaluate(config, folder, model, processor)
    summary: dict[str, Any] = {f"{label}_{_short(result)}": _main_mean(result) for label, result in results.items()}
    summary |= {
        "train_seconds": round(train_seconds, 1),
        "evaluation_seconds": round(time.perf_counter() - started, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seed": config.seed,
    }
    if config.evaluation:
        first = BENCHMARKS.build(next(iter(config.evaluation.values())))
        summary["reload_identical"] = reload_is_identical(
            model, processor, folder.final, first, attn_implementation=config.model.attn_implementation
        )
    summary["peak_rss_mb"] = round(max(peaks["peak_rss_mb"], peak_rss_mb()), 1)
    write_report(
        folder,
        title=config.title or folder.root.name,
        summary=summary,
        notes=config.notes,
        results={label: result.to_dict() for label, result in results.items()},
        gallery=gallery_of(config.evaluation, results, num=3),
    )
    _show(results, summary, folder)
    return summary


def _evaluate(config: RunConfig, folder: RunFolder, model: Any, processor: Any) -> dict[str, BenchmarkResult]:
    if not config.evaluation:
        return {}
    total = len(config.evaluation)
    with RunProgress("evaluation", total * 100) as progress:
        labels = list(config.evaluation)

        def report(label: str, done: int, of: int) -> None:
            progress.update(labels.index(label) * 100 + round(100 * done / of))

        return evaluate_model(
            model,
            processor,
            config.evaluation,
            out_dir=folder.evaluation,
            batch_size=config.eval_batch_size,
            seed=config.seed,
            overwrite=True,
            report=report,
        )


def _short(result: BenchmarkResult) -> str:
    return "exact" if "exact" in result.main_score else result.main_score


def _main_mean(result: BenchmarkResult) -> float:
    return result.scores[result.main_score].mean


def _show(results: dict[str, BenchmarkResult], summary: dict[str, Any], folder: RunFolder) -> None:
    console = Console()
    if results:
        console.print(scores_table(results))
    names = ("train_seconds", "evaluation_seconds", "peak_rss_mb", "parameters", "reload_identical")
    shown = [f"{name}: {summary[name]}" for name in names if name in summary]
    console.print("  ".join(shown), highlight=False, soft_wrap=True)
    console.print(f"report: {folder.report}", highlight=False, soft_wrap=True)
