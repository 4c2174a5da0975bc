"""Several benchmarks, one model: folders by label, ``scores.json``, and the table."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.runner import BenchmarkResult, run_benchmark

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["evaluate_model", "scores_table"]

_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def evaluate_model(
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    benchmarks: Mapping[str, Mapping[str, Any]],
    *,
    out_dir: str | Path,
    batch_size: int,
    seed: int = 0,
    overwrite: bool = False,
    report: Callable[[str, int, int], None] | None = None,
) -> dict[str, BenchmarkResult]:
    """Run benchmarks one after the other; all are built before the first question is asked.

    Args:
        model: what is measured.
        processor: of the model.
        benchmarks: ``{label: {type: name, …}}``; a label names its row and its folder in ``out_dir``.
        out_dir: gets ``scores.json`` and ``<label>/generations.jsonl``.
        batch_size: prompts answered at once.
        seed: of the bootstrap.
        overwrite: whether answers of another model or benchmark are thrown away.
        report: told the label, the number of answered questions, and of all, after each batch.

    Returns:
        A result for each label, in the order of ``benchmarks``.

    Raises:
        ConfigError: if a label cannot name a folder, or a benchmark cannot be built.
    """
    for label in benchmarks:
        if not _LABEL.fullmatch(label):
            raise ConfigError(
                f"A benchmark's label must be of letters, digits, `_`, `-` and `.`, but is `{label}` instead; "
                "it names a folder."
            )
    built = {label: BENCHMARKS.build(spec) for label, spec in benchmarks.items()}
    results: dict[str, BenchmarkResult] = {}
    for label, benchmark in built.items():
        results[label] = run_benchmark(
            model,
            processor,
            benchmark,
            out_dir=Path(out_dir) / label,
            batch_size=batch_size,
            seed=seed,
            overwrite=overwrite,
            report=None if report is None else _labelled(report, label),
        )
        scores = {label: result.to_dict() for label, result in results.items()}
        write_whole(Path(out_dir) / "scores.json", json.dumps(scores, indent=2) + "\n")
    return results


def scores_table(results: Mapping[str, BenchmarkResult], *, title: str | None = None) -> Table:
    """Return the table that a console prints: a row for each benchmark and score.

    ``n`` counts questions, ``cut`` completions that reached the limit; that column, and the one of papers' numbers,
    come only where there are any. It fits 80 characters, the width of a log.
    """
    has_unfinished = any(result.num_unfinished for result in results.values())
    has_expected = any(result.expected is not None for result in results.values())
    table = Table(title=title, title_justify="left")
    for heading in ("benchmark", "score"):
        table.add_column(heading, no_wrap=True)
    optional = ["cut"] * has_unfinished + ["paper"] * has_expected
    for heading in ("mean", "95 % interval", "n", *optional):
        table.add_column(heading, justify="right", no_wrap=True)
    for label, result in results.items():
        for name in result.scores:
            cells = _cells(result, name)
            table.add_row(
                label if name == result.main_score else "", name, *(cells[h.header] for h in table.columns[2:])
            )
    return table


def _cells(result: BenchmarkResult, name: str) -> dict[Any, str]:
    """Return the cells of one score by heading."""
    interval = result.scores[name]
    expected = result.expected if name == result.main_score else None
    return {
        "mean": f"{interval.mean:.3f}",
        "95 % interval": f"{interval.low:.3f} to {interval.high:.3f}",
        "n": str(interval.num),
        "cut": str(result.num_unfinished),
        "paper": "" if expected is None else f"{expected.value:.3f}",
    }


def _labelled(report: Callable[[str, int, int], None], label: str) -> Callable[[int, int], None]:
    return lambda num_done, num_questions: report(label, num_done, num_questions)
