"""Two batches of rollouts, cut in several ways over the ranks that run this; writes what the journal says as JSON.

A group has three completions and a batch has four prompts, so on two ranks a group lies on both.
"""

import json
import sys
from pathlib import Path

from tests.smoke.test_resume import make_config
from vlmzoo.config.loading import check_config
from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import is_main, world_size
from vlmzoo.runs import train_run

GLOBAL_BATCH, NUM_STEPS = 12, 4
SIZES = {0: (2, 3, 6), 2: (3,), 3: (2, 6)}
"""Micro-batches that are tried at each stage of ZeRO."""
TOLD = ("loss", "policy_loss", "kl_nats", "reward", "grad_norm", "zero_variance", "completion_tokens")


def letters(completion, reference):
    """A reward that nearly every two completions disagree about."""
    return sum(map(ord, completion)) % 97 / 97


def run(stage, micro_batch_size, output_dir):
    values = make_config(output_dir, deepspeed=f"zero{stage}", num_workers=0)
    values["model"]["architecture"]["language_model"]["attention_dropout"] = 0.0
    values["model"]["adapters"] = []
    task = values["experience"]["source"]["sources"][0]["source"]["task"]
    values["experience"] = {
        "type": "rollouts",
        "source": {"type": "synthetic", "task": task, "kinds": {"text": 1.0, "image": 1.0}},
        "rewards": [{"type": "python", "function": "tests.smoke.rollout_splits:letters"}],
        "num_prompts": 4,
        "num_rollouts": 3,
        "num_epochs": 2,
        "sampling": {"max_new_tokens": 5},
        "reference": "frozen_copy",
    }
    values["objective"] = {"type": "grpo_verl", "kl_coef": 0.1, "clip_low": 0.01, "clip_high": 0.01}
    values["optim"] = {"learning_rate": 5e-4, "schedule": {"type": "constant", "warmup": 0.0}}
    values |= {"micro_batch_size": micro_batch_size, "num_steps": NUM_STEPS, "overwrite": True, "evaluation": {}}
    values["accumulation_steps"] = GLOBAL_BATCH // world_size() // micro_batch_size
    folder = train_run(check_config(values, schema=RunConfig, origin="rollout_splits.py")).folder
    lines = [json.loads(line) for line in folder.journal.read_text().splitlines()] if is_main() else []
    return [{name: line[name] for name in TOLD} for line in lines]


def main(out):
    found = {f"zero{stage}/{size}": run(stage, size, f"{out}.run") for stage, sizes in SIZES.items() for size in sizes}
    if is_main():
        Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
