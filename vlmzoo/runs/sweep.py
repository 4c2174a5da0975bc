"""A sweep: several supervisions of one curriculum, each trained and evaluated, and compared in one table."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from vlmzoo.config import RunConfig, SweepConfig, load_config
from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import ConfigError, VlmzooError
from vlmzoo.experience.curriculum import steps_of_phases
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.series import is_done, tell
from vlmzoo.runs.sweep_summary import Summary, summarise
from vlmzoo.runs.train import train_run

__all__ = ["Arm", "plan_arms", "sweep_run"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One supervision at one budget with one seed: a run for each phase, one after the other.

    Args:
        supervision: its name.
        budget: presentations.
        seed: of the runs.
        runs: their configurations; each but the first starts from the weights of the one before, and the last is
            evaluated.
    """

    supervision: str
    budget: int
    seed: int
    runs: tuple[RunConfig, ...]

    @property
    def folder(self) -> RunFolder:
        """Where the answers are."""
        return RunFolder(self.runs[-1].output_dir)


def plan_arms(config: SweepConfig) -> list[Arm]:
    """Turn a sweep into runs, in the order in which they are made: seed by seed, budget by budget.

    Raises:
        ConfigError: if the run that varies has no curriculum, a supervision or budget cannot be, or two are equal.
    """
    base = load_config(config.run, config.overrides)
    if base.experience.get("type") != "curriculum":
        raise ConfigError(
            f"`run` must have an experience of type `curriculum`, but `{config.run}` has "
            f"`{base.experience.get('type')}` instead."
        )
    if config.main not in base.evaluation:
        raise ConfigError(
            f"`main` must be a label of the run's evaluation, {', '.join(base.evaluation) or 'which has none'}, but is "
            f"`{config.main}` instead."
        )
    if config.baseline is not None and config.baseline not in config.supervisions:
        raise ConfigError(
            f"`baseline` must be one of `supervisions`, {', '.join(config.supervisions)}, but is "
            f"`{config.baseline}` instead."
        )
    for name in ("supervisions", "budgets", "seeds"):
        values = getattr(config, name)
        if len(set(values)) < len(values):
            raise ConfigError(f"`{name}` must name each once, but is {values} instead.")
    return [
        Arm(
            supervision=supervision,
            budget=budget,
            seed=seed,
            runs=tuple(_runs(config, base, supervision, budget, seed)),
        )
        for seed in config.seeds
        for budget in config.budgets
        for supervision in config.supervisions
    ]


def sweep_run(config: SweepConfig) -> Summary | None:
    """Train and evaluate all arms of a sweep, and write the table and the curves; killed and run again, it goes on.

    The summary is written anew after each arm, from those that are finished.

    Args:
        config: of the sweep.

    Returns:
        The summary; None if the sweep was asked to stop before its end.

    Raises:
        ConfigError: if something of it cannot be built; before the first run.
        VlmzooError: if a run in processes of its own fails.
    """
    arms = plan_arms(config)
    root = RunFolder(config.output_dir).ensure().root
    finished: list[Arm] = []
    summary = None
    for number, arm in enumerate(arms, start=1):
        tell(f"{number}/{len(arms)}: {arm.supervision}, {arm.budget:,} presentations, seed {arm.seed}")
        if not all(_make(config, run) for run in arm.runs):
            tell("Stopped; the same command goes on from there.")
            return None
        finished.append(arm)
        answers = {(one.supervision, one.budget, one.seed): one.folder.evaluation for one in finished}
        summary = summarise(config, answers, expected=len(arms))
        summary.write(root)
    if summary is not None:
        Console().print(summary.table())
        if config.publish is not None:
            write_whole(Path(config.publish), summary.markdown())
    return summary


def _runs(config: SweepConfig, base: RunConfig, supervision: str, budget: int, seed: int) -> Iterator[RunConfig]:
    """Vary the base run: one for each phase of the supervision."""
    experience = {**base.experience, "supervision": supervision, "budget": budget}
    batch_size = base.micro_batch_size * base.accumulation_steps * config.processes
    steps = steps_of_phases(experience, batch_size=batch_size)
    root, model = Path(config.output_dir) / f"{supervision}-{budget}" / f"seed{seed}", base.model
    for number, num_steps in enumerate(steps, start=1):
        is_last = number == len(steps)
        folder = root if is_last else root / f"phase{number}"
        yield base.model_copy(
            update={
                "model": model,
                "experience": experience if len(steps) == 1 else {**experience, "phase": number},
                "num_steps": num_steps,
                "seed": seed,
                "evaluation": base.evaluation if is_last else {},
                "output_dir": str(folder),
                "title": f"{supervision}, {budget:,} presentations, seed {seed}",
            }
        )
        model = base.model.going_on(str(RunFolder(folder).final))


def _make(config: SweepConfig, run: RunConfig) -> bool:
    """Train and evaluate one run, unless that is done; say whether it came to its end."""
    if is_done(run):
        return True
    if not config.launch:
        return bool(train_run(run).summary)
    path = Path(config.output_dir) / "configs" / f"{'-'.join(Path(run.output_dir).parts[-3:])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(run.model_dump(mode="json"), indent=2) + "\n")
    words = [*config.launch, str(path)]
    try:
        code = subprocess.run(words, check=False).returncode
    except OSError as error:
        raise ConfigError(f"`launch` must be a command that can be started, but {error}.") from error
    if code:
        raise VlmzooError(f"`{' '.join(words)}` ended with code {code}; what it printed stands above.")
    return is_done(run)
