"""A study: several ways of training from the same start, with several seeds, compared question by question."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from vlmzoo.config import ArmConfig, MiaConfig, ModelConfig, RunConfig, StudyConfig, load_config
from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapter_specs import adapter_specs
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.mia import build_mia
from vlmzoo.runs.mia_report import pairs_table
from vlmzoo.runs.series import is_done, tell
from vlmzoo.runs.study_matched import check_matched, ratios_of
from vlmzoo.runs.study_summary import START, StudySummary, summarise_study
from vlmzoo.runs.train import train_run

__all__ = ["StudyRun", "plan_study", "study_run"]


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One run of a study.

    Args:
        arm: its name; ``start`` for what the arms begin with.
        seed: of the run.
        config: what is trained.
        pairs: what the start makes when it is trained; None where arms bring their own data.
    """

    arm: str
    seed: int
    config: RunConfig

    pairs: MiaConfig | None = None

    @property
    def pairs_folder(self) -> Path:
        """Where the pairs are that the arms learn from."""
        return Path(self.config.output_dir) / "pairs"

    @property
    def folder(self) -> RunFolder:
        """What the run leaves behind."""
        return RunFolder(self.config.output_dir)


def plan_study(config: StudyConfig) -> list[StudyRun]:
    """Turn a study into runs in the order in which they are made: seed by seed, the start first.

    Raises:
        ConfigError: if a run cannot be read, arms are evaluated differently, or a comparison names no arm or cannot be
            made where coverage is equal.
    """
    if START in config.arms:
        raise ConfigError(f"`arms` must not name one `{START}`, which stands for what they begin with.")
    if len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"`seeds` must name each once, but is {config.seeds} instead.")
    known = [*([START] if config.start else []), *config.arms]
    for name in (name for pair in config.comparisons for name in pair):
        if name not in known:
            raise ConfigError(f"`comparisons` must be of {', '.join(known)}, but one names `{name}` instead.")
    runs = [run for seed in config.seeds for run in _runs_of(config, seed)]
    labels = {run.arm: tuple(run.config.evaluation) for run in runs}
    if len(set(labels.values())) > 1:
        told = "; ".join(f"`{arm}`: {', '.join(found) or 'nothing'}" for arm, found in labels.items())
        raise ConfigError(f"All runs of a study must be evaluated on the same labels, but they are on {told}.")
    starts = [run.config for run in runs if run.arm == START]
    check_matched(config, starts[0] if starts else None, [run.config for run in runs if run.arm != START])
    return runs


def study_run(config: StudyConfig) -> StudySummary | None:
    """Train and evaluate all runs of a study, and write the table; killed and run again, it goes on.

    The summary is written anew after each run, from those that are finished.

    Args:
        config: of the study.

    Returns:
        The summary; None if the study was asked to stop before its end.

    Raises:
        ConfigError: if something of it cannot be built; before the first run.
    """
    runs = plan_study(config)
    root = RunFolder(config.output_dir).ensure().root
    ratios = ratios_of(runs[0].config)
    finished: dict[tuple[str, int], RunFolder] = {}
    reports: dict[int, dict[str, Any]] = {}
    summary = None
    for number, run in enumerate(runs, start=1):
        tell(f"{number}/{len(runs)}: {run.arm}, seed {run.seed}")
        if not is_done(run.config) and not train_run(run.config).summary:
            tell("Stopped; the same command goes on from there.")
            return None
        if run.pairs is not None:
            reports[run.seed] = build_mia(run.pairs, run.pairs_folder)
            write_whole(root / "pairs.md", pairs_table(reports))
        finished[run.arm, run.seed] = run.folder
        summary = summarise_study(config, finished, expected=len(runs), ratios=ratios)
        summary.write(root)
    if summary is not None:
        Console().print(summary.table())
        if config.publish is not None:
            parts = [summary.markdown(), *([pairs_table(reports)] if reports else [])]
            write_whole(Path(config.publish), "\n".join(parts))
    return summary


def _runs_of(config: StudyConfig, seed: int) -> Iterator[StudyRun]:
    start: StudyRun | None = None
    source: list[str] = []
    if config.pairs is not None and config.start is None:
        raise ConfigError("`pairs` are answered by the start, but there is no `start`.")
    if config.start is not None:
        start = _run(config, START, config.start, seed, None)
        if config.pairs is not None:
            pairs = load_config(config.pairs.run, config.pairs.overrides, schema=MiaConfig)
            start = replace(
                start, pairs=pairs.model_copy(update={"model": _from_start(pairs.model, start), "seed": seed})
            )
            source = [f"experience.source.path={start.pairs_folder}"]
        yield start
    for name, arm in config.arms.items():
        yield _run(config, name, arm.model_copy(update={"overrides": [*arm.overrides, *source]}), seed, start)


def _run(config: StudyConfig, name: str, arm: ArmConfig, seed: int, start: StudyRun | None) -> StudyRun:
    run = load_config(arm.run, arm.overrides)
    changed = {
        "model": run.model if start is None else _from_start(run.model, start),
        "seed": seed,
        "output_dir": str(Path(config.output_dir) / name / f"seed{seed}"),
        "notes": [*run.notes, *([] if start is None else [_origin_of(start)])],
        "title": f"{config.title or Path(config.output_dir).name}: {name}, seed {seed}",
    }
    return StudyRun(arm=name, seed=seed, config=run.model_copy(update=changed))


def _from_start(model: ModelConfig, start: StudyRun) -> ModelConfig:
    """Return the model that an arm asks for with the weights of the start: its own options, and its new adapters.

    Of its ``parts`` those of new adapters are left; others would take away what the start has learned.
    """
    begun = model.going_on(str(start.folder.final))
    places = tuple(f"adapters.{label}." for label in adapter_specs(model.adapters))
    parts = {name: part for name, part in model.parts.items() if f"{name}.".startswith(places)}
    return begun.model_copy(update={"adapters": model.adapters, "parts": parts})


def _origin_of(start: StudyRun) -> str:
    """Tell an arm's start by its configuration, so that arms of another start are not taken for done."""
    digest = hashlib.sha256(start.config.model_dump_json().encode()).hexdigest()[:16]
    return f"It begins with what `{start.arm}` learned, whose configuration has the digest {digest}."
