"""This library's arm of ``beside_trl_dpo.py``: experience, loop and DeepSpeed as in a run."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from beside_trl_settings import LEARNING_RATE, PAIRS_PER_STEP
from measuring import Turns

from vlmzoo import load_model
from vlmzoo.config.schema import RunConfig
from vlmzoo.integrations.deepspeed import join_processes, make_engine, resolve_auto
from vlmzoo.loop import StepReport, train
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.runs.memory import keep_freed_memory, peak_rss_mb, rss_mb
from vlmzoo.runs.optim import make_schedule, parameter_groups
from vlmzoo.runs.policy import RunPolicy, build_experience, frozen_copy


def make_run(folder: Path) -> RunConfig:
    """Return the run as a config would describe it."""
    return RunConfig.model_validate(
        {
            "model": {"path": str(folder / "model")},
            "experience": {
                "type": "pairs",
                "source": {"type": "trl", "path": str(folder / "pairs.jsonl")},
                "reference": "frozen_copy",
            },
            "objective": {"type": "preference"},
            "optim": {"learning_rate": LEARNING_RATE, "schedule": {"type": "constant", "warmup": 0.0}},
            "num_steps": 10**6,
            "micro_batch_size": PAIRS_PER_STEP,
            "output_dir": str(folder / "run"),
        }
    )


def main(folder: Path) -> None:
    """Train until told to stop."""
    turns = Turns()
    torch.set_num_threads(1)
    join_processes()
    keep_freed_memory()
    run = make_run(folder)
    model: Any
    model, processor = load_model(str(folder / "model"))
    frozen = frozen_copy(run.experience, model)
    spec = resolve_auto({}, run, dtype=torch.float32, hidden_size=256)
    schedule = make_schedule(run.optim.schedule, run.num_steps)
    engine = make_engine(model.train(), parameter_groups(model, run.optim), spec, schedule)
    experience = build_experience(run, processor=processor, policy=RunPolicy(engine, frozen))
    before = rss_mb()
    started = time.perf_counter()

    def take_turns(report: StepReport) -> None:
        nonlocal started
        turns.take(seconds=time.perf_counter() - started, loss=report.metrics["loss"])
        started = time.perf_counter()

    train(
        engine,
        experience,
        OBJECTIVES.build(run.objective),
        num_steps=run.num_steps,
        reports=[take_turns],
        is_over=lambda report: turns.is_over,
    )
    turns.tell(peak_rss_mb=peak_rss_mb(), before_mb=before)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
