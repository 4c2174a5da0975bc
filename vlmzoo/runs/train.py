"""One training run from its configuration to its report."""

import random
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from vlmzoo.checkpoint import restore_training, save_model
from vlmzoo.config import dump_resolved
from vlmzoo.config.schema import ModelConfig, RunConfig
from vlmzoo.distributed import barrier, is_main, rank
from vlmzoo.errors import ConfigError, MemoryLimitError
from vlmzoo.evaluation import BENCHMARKS
from vlmzoo.experience import Experience
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
from vlmzoo.models.packed import enable_packing
from vlmzoo.objectives import OBJECTIVES, Objective
from vlmzoo.runs.checking import check_run
from vlmzoo.runs.checkpointing import Checkpointer
from vlmzoo.runs.conclude import conclude
from vlmzoo.runs.efficiency import checkpoint_activations, compile_model, forecast_sentence, keep_features
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.memory import keep_freed_memory
from vlmzoo.runs.models import model_of
from vlmzoo.runs.optim import make_schedule, parameter_groups
from vlmzoo.runs.policy import RunPolicy, build_experience, check_objective, frozen_copy
from vlmzoo.runs.recorder import recorded
from vlmzoo.runs.resume import Beginning, begin
from vlmzoo.runs.signals import StopRequest
from vlmzoo.runs.telling import make_reports

__all__ = ["TrainedRun", "train_run"]


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
    """Train, save, evaluate and report what a configuration describes; a run that was stopped goes on.

    Args:
        config: of the whole run.

    Returns:
        The folder and the figures; without figures if the run was asked to stop before its end.

    Raises:
        ConfigError: if something in it cannot be built, or the folder holds another run; before the first step.
        MemoryLimitError: if a step does not fit into memory.
        MissingExtraError: if deepspeed is not installed.
    """
    check_run(config)
    for benchmark in config.evaluation.values():
        BENCHMARKS.build(benchmark)
    join_processes()
    check_objective(config)
    folder = RunFolder(config.output_dir).ensure()
    beginning = begin(config, folder)
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        keep_freed_memory()
    if beginning.state == "finished":
        _tell(f"`{folder.root}` is finished; it is evaluated again.")
        model, processor = model_of(_final(config, folder), device=device)
    else:
        random.seed(config.seed)
        torch.manual_seed(config.seed)
        model, processor = model_of(config.model, device=device)
        last_step, is_split = _train(config, folder, model, processor, device, beginning)
        if last_step < config.num_steps:
            _tell(f"Stopped after step {last_step}; the same command goes on from there.")
            return TrainedRun(folder, {})
        if is_split and is_main():  # one rank alone cannot run a model that is split over all
            trained = _final(config, folder).model_copy(update={"dtype": str(model.dtype).removeprefix("torch.")})
            model, processor = model_of(trained, device=device)
    train_seconds = sum(line["seconds"] for line in read_journal(folder.journal)) if is_main() else 0.0
    summary = conclude(config, folder, model.eval(), processor, train_seconds)
    if config.hub is not None and is_main():
        push_model(folder.root, config.hub.repo_id, private=config.hub.private)
    return TrainedRun(folder, summary)  # the other ranks are gone: nobody waits for a long evaluation


def _final(config: RunConfig, folder: RunFolder) -> ModelConfig:
    """Return the section of what the run wrote at its end, with the kernels that it was trained with."""
    return config.model.going_on(str(folder.final))


def _train(
    config: RunConfig, folder: RunFolder, model: Any, processor: Any, device: str, beginning: Beginning
) -> tuple[int, bool]:
    """Take the steps that are left and write ``final/`` after the last.

    Returns:
        The number of the last step taken, and whether ZeRO-3 left this rank without whole weights.

    Raises:
        MemoryLimitError: if a step does not fit into memory.
    """
    if config.experience.get("packing"):
        enable_packing(model)
    checkpoint_activations(model, config.activation_checkpointing)
    if config.compile:
        compile_model(model)
    frozen = frozen_copy(config.experience, model)
    engine = _engine_of(config, model, device, folder)
    experience = build_experience(config, processor=processor, policy=RunPolicy(engine, frozen))
    _check_length(config, experience)
    objective = _objective_of(config, model)
    random.seed(config.seed + rank())
    torch.manual_seed(config.seed + rank())  # the same weights everywhere, other dropout on every rank
    steps_taken = 0
    if beginning.checkpoint is not None:
        steps_taken = restore_training(beginning.checkpoint, engine=engine, experience=experience)
        _tell(f"Going on after step {steps_taken} of {config.num_steps}.")
    checkpointer = Checkpointer(config, folder, engine, experience, model, processor)
    model.train()
    with (
        StopRequest() as request,
        make_reports(config, folder, model, processor, steps_taken) as reports,
        recorded(objective, experience, folder, steps_taken) as (objective, recorders),
    ):
        try:
            last_step = train(
                engine,
                experience,
                objective,
                num_steps=config.num_steps,
                reports=[*reports, *recorders, checkpointer],
                first_step=steps_taken + 1,
                is_over=lambda report: checkpointer.is_last(report, is_asked=request.is_asked()),
            )
        except MemoryLimitError as error:
            dtype = str(model.dtype).removeprefix("torch.")
            raise MemoryLimitError(
                f"{error}{forecast_sentence(config, error, dtype=dtype, zero_stage=engine.stage)}"
            ) from error
    if last_step == config.num_steps:
        state = engine.gathered_state_dict()
        save = save_model if is_main() else _skip
        save(model, processor, folder.final, state_dict=state)
    barrier()
    return last_step, engine.stage == 3


def _tell(sentence: str) -> None:
    if is_main():
        Console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)


def _skip(*args: Any, **kwargs: Any) -> None:
    """Leave the writing to rank 0."""


def _check_length(config: RunConfig, experience: Experience) -> None:
    """Refuse a number of steps that an experience with an end does not have."""
    planned = getattr(experience, "num_steps", None)
    if planned is not None and planned != config.num_steps:
        raise ConfigError(
            f"`num_steps` must be {planned}, the steps that the experience has, but is {config.num_steps} instead."
        )


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
    keep_features(model, config.feature_cache)
    return make_engine(model, groups, spec, make_schedule(config.optim.schedule, config.num_steps))
