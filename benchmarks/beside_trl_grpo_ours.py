"""This library's arm of ``beside_trl_grpo.py``: experience, loop and DeepSpeed as in a run."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from beside_trl_grpo_settings import LEARNING_RATE, MAX_NEW_TOKENS, MICRO_BATCH, NUM_PROMPTS, NUM_ROLLOUTS
from measuring import Turns

from vlmzoo import load_model
from vlmzoo.config.schema import RunConfig
from vlmzoo.integrations.deepspeed import join_processes, make_engine, resolve_auto
from vlmzoo.loop import StepReport, train
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.runs.memory import keep_freed_memory, peak_rss_mb, rss_mb
from vlmzoo.runs.optim import make_schedule, parameter_groups
from vlmzoo.runs.policy import RunPolicy, build_experience


def make_run(folder: Path) -> RunConfig:
    """Return the run as a config would describe it."""
    return RunConfig.model_validate(
        {
            "model": {"path": str(folder / "model")},
            "experience": {
                "type": "rollouts",
                "source": {"type": "virft", "path": str(folder / "rows.jsonl"), "solution": "label"},
                "num_prompts": NUM_PROMPTS,
                "num_rollouts": NUM_ROLLOUTS,
                "sampling": {"max_new_tokens": MAX_NEW_TOKENS, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
                "rewards": [{"type": "python", "function": "beside_trl_grpo_settings:variety"}],
            },
            "objective": {"type": "policy_gradient", "kl_coef": 0.0},
            "optim": {"learning_rate": LEARNING_RATE, "schedule": {"type": "constant", "warmup": 0.0}},
            "num_steps": 10**6,
            "micro_batch_size": MICRO_BATCH,
            "accumulation_steps": NUM_PROMPTS * NUM_ROLLOUTS // MICRO_BATCH,
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
    hidden_size = model.config.get_text_config().hidden_size
    spec = resolve_auto({}, run, dtype=torch.float32, hidden_size=hidden_size)
    groups = parameter_groups(model, run.optim)
    engine = make_engine(model.train(), groups, spec, make_schedule(run.optim.schedule, run.num_steps))
    experience = build_experience(run, processor=processor, policy=RunPolicy(engine))
    before = rss_mb()
    started, worked = time.perf_counter(), time.process_time()

    def take_turns(report: StepReport) -> None:
        nonlocal started, worked
        spent = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - worked}
        turns.take(**spent, completion_tokens=report.metrics["completion_tokens"])
        started, worked = time.perf_counter(), time.process_time()

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
