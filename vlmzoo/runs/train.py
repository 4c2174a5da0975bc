"""One training run from its configuration to its report."""

import logging
import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from vlmzoo.checkpoint import save_model
from vlmzoo.config import dump_resolved
from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import barrier, is_main, sum_over_ranks
from vlmzoo.evaluation import BENCHMARKS, BenchmarkResult, evaluate_model, scores_table
from vlmzoo.experience import EXPERIENCES
from vlmzoo.hub import push_model
from vlmzoo.integrations.deepspeed import (
    DeepSpeedEngine,
    join_processes,
    load_deepspeed_json,
    make_engine,
    resolve_auto,
)
from vlmzoo.loop import train
from vlmzoo.models.adapting import AdapterMixin
from vlmzoo.models.assembler import choose_dtype
from vlmzoo.objectives import OBJECTIVES, Objective
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.memory import keep_freed_memory, peak_rss_mb
from vlmzoo.runs.models import model_of
from vlmzoo.runs.optim import make_schedule, parameter_groups
from vlmzoo.runs.progress import RunProgress
from vlmzoo.runs.quality import gallery_of, reload_is_identical
from vlmzoo.runs.report import write_report
from vlmzoo.runs.telling import make_reports

__all__ = ["TrainedRun", "train_run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """What a run leaves behind.

    Args:
        folder: everything on disk.
        summary: the figures of ``report.json``.
    """

    folder: RunFolder
    summary: dict[str, Any]


def train_run(config: RunConfig) -> TrainedRun:
    """Train, save, evaluate and report what a configuration describes.

    Args:
        config: of the whole run.

    Raises:
        ConfigError: if something in it cannot be built; before the first step.
        MissingExtraError: if deepspeed is not installed.
    """
    _check_names(config)
    join_processes()
    folder = RunFolder(config.output_dir).ensure()
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        keep_freed_memory()
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    model, processor = model_of(config.model, device=device)
    engine = _engine_of(config, model, device, folder)
    experience = EXPERIENCES.build(
        config.experience,
        processor=processor,
        micro_batch_size=config.micro_batch_size,
        accumulation_steps=config.accumulation_steps,
        seed=config.seed,
    )
    objective = _objective_of(config, model)

    started = time.perf_counter()
    model.train()
    with make_reports(config, folder, model, processor) as reports:
        train(engine, experience, objective, num_steps=config.num_steps, reports=reports)
    train_seconds = time.perf_counter() - started

    save = save_model if is_main() else _skip
    save(model, processor, folder.final, state_dict=engine.gathered_state_dict())
    barrier()
    summary = _conclude(config, folder, model.eval(), processor, train_seconds)
    if config.hub is not None and is_main():
        push_model(folder.root, config.hub.repo_id, private=config.hub.private)
    barrier()
    return TrainedRun(folder, summary)


def _skip(*args: Any, **kwargs: Any) -> None:
    """Leave the writing to rank 0."""


def _check_names(config: RunConfig) -> None:
    """Check all specs against their registries before anything is built."""
    given = ("processor", "micro_batch_size", "accumulation_steps", "seed")
    EXPERIENCES.check(config.experience, runtime=given)
    OBJECTIVES.check(config.objective)
    for benchmark in config.evaluation.values():
        BENCHMARKS.build(benchmark)


def _objective_of(config: RunConfig, model: AdapterMixin) -> Objective:
    """Return the run's objective, and beside it what the adapters want, unless the run sums terms itself."""
    wanted = {
        f"{label}_{name}": dict(term)
        for label, adapter in model.attached.items()
        for name, term in adapter.loss_terms.items()
    }
    if not wanted or config.objective.get("type") == "weighted_sum":
        return OBJECTIVES.build(config.objective)
    return OBJECTIVES.build({"type": "weighted_sum", "terms": {"text": config.objective, **wanted}})


def _engine_of(config: RunConfig, model: Any, device: str, folder: RunFolder) -> DeepSpeedEngine:
    dtype = choose_dtype(config.model.dtype, device)
    spec = resolve_auto(
        load_deepspeed_json(config.deepspeed),
        config,
        dtype=dtype,
        hidden_size=model.config.get_text_config().hidden_size,
    )
    if is_main():
        dump_resolved(config, folder.root, deepspeed=spec)
    groups = parameter_groups(model, config.optim)
    return make_engine(model, groups, spec, make_schedule(config.optim.schedule, config.num_steps))


def _conclude(config: RunConfig, folder: RunFolder, model: Any, processor: Any, train_seconds: float) -> dict[str, Any]:
    """Evaluate and reload on rank 0, and write the report."""
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
        summary["reload_identical"] = reload_is_identical(model, processor, folder.final, first)
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
