"""This library's arm of ``beside_trl.py``: experience, loop and DeepSpeed as in a run, packed or padded."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from beside_trl_settings import CAPACITY, LEARNING_RATE, LINES_PER_STEP, ROWS_PER_STEP, WINDOW
from measuring import Turns

from vlmzoo import load_model
from vlmzoo.config.schema import RunConfig
from vlmzoo.experience import EXPERIENCES
from vlmzoo.integrations.deepspeed import join_processes, make_engine, resolve_auto
from vlmzoo.loop import StepReport, train
from vlmzoo.models.packed import enable_packing
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.runs.memory import keep_freed_memory, peak_rss_mb, rss_mb
from vlmzoo.runs.optim import make_schedule, parameter_groups


def make_run(folder: Path, *, is_packed: bool) -> RunConfig:
    """Return the run as a config would describe it."""
    packing = {"packing": True, "packing_window": WINDOW, "max_tokens": CAPACITY} if is_packed else {}
    return RunConfig.model_validate(
        {
            "model": {"path": str(folder / "model")},
            "experience": {
                "type": "supervised",
                "source": {"type": "llava_json", "path": str(folder / "rows.json")},
                **packing,
            },
            "optim": {"learning_rate": LEARNING_RATE, "schedule": {"type": "constant", "warmup": 0.0}},
            "num_steps": 10**6,
            "micro_batch_size": LINES_PER_STEP if is_packed else ROWS_PER_STEP,
            "output_dir": str(folder / "run"),
        }
    )


def main(folder: Path, *, is_packed: bool) -> None:
    """Train until told to stop."""
    turns = Turns()
    torch.set_num_threads(1)
    join_processes()
    keep_freed_memory()
    run = make_run(folder, is_packed=is_packed)
    model: Any
    model, processor = load_model(str(folder / "model"))
    if is_packed:
        enable_packing(model)
    spec = resolve_auto({}, run, dtype=torch.float32, hidden_size=256)
    engine = make_engine(
        model.train(), parameter_groups(model, run.optim), spec, make_schedule(run.optim.schedule, run.num_steps)
    )
    experience = EXPERIENCES.build(run.experience, processor=processor, micro_batch_size=run.micro_batch_size)
    before = rss_mb()
    started = time.perf_counter()

    def take_turns(report: StepReport) -> None:
        nonlocal started
        seconds = time.perf_counter() - started
        turns.take(seconds=seconds, tokens=report.tokens, loss=report.metrics["loss"])
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
    main(Path(sys.argv[1]), is_packed=sys.argv[2] == "packed")
