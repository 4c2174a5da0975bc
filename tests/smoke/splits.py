"""Six rows of unequal length, cut in several ways over the ranks that run this; writes the loss series as JSON.

Some rows have no image, and one has no target, so that a rank's micro-batch may have neither. Where ZeRO splits
anything, the head runs in chunks, so that it is gathered, and its gradient added up, chunk by chunk.
"""

import json
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import torch

from tests.smoke.test_resume import make_config
from vlmzoo.blocks.language.causal_lm import target_statistics
from vlmzoo.config.loading import check_config
from vlmzoo.config.schema import RunConfig
from vlmzoo.data.collation import Collator
from vlmzoo.data.synthetic import TASKS
from vlmzoo.distributed import is_main, rank, sum_over_ranks, world_size
from vlmzoo.hub import build_model
from vlmzoo.integrations.deepspeed import join_processes, load_deepspeed_json, make_engine, resolve_auto
from vlmzoo.loop import train
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import IGNORED_LABEL, Step
from vlmzoo.runs.efficiency import checkpoint_activations, compile_model
from vlmzoo.runs.optim import make_schedule, parameter_groups

GLOBAL_BATCH, NUM_STEPS = 6, 4
IN_CHUNKS = partial(target_statistics, max_chunk_elements=320 * 7)  # seven targets at a time
KINDS = ("text", "image", "image_via_text", "text", "image", "text")


def rows_of(processor, task, number):
    """The six rows of one step; the last has nothing to learn from."""
    rows = [processor.encode(task.sample(kind, 7, number * GLOBAL_BATCH + i)) for i, kind in enumerate(KINDS)]
    rows[-1]["labels"] = [IGNORED_LABEL] * len(rows[-1]["labels"])
    return rows


def steps(processor, task, micro_batch_size):
    collate = Collator(pad_token_id=processor.padding_id)
    for number in range(NUM_STEPS):
        own = rows_of(processor, task, number)[rank() :: world_size()]
        batches = [collate(own[i : i + micro_batch_size]) for i in range(0, len(own), micro_batch_size)]
        counts = [batch.count() for batch in batches]
        yield Step(
            micro_batches=batches,
            denominators=sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]}),
        )


def run(deepspeed, micro_batch_size, output_dir, *, again=(), dtype=torch.float32, compiled=False):
    values = make_config(output_dir, deepspeed=deepspeed, num_workers=0)
    values["model"]["architecture"]["language_model"]["attention_dropout"] = 0.0
    values["model"]["adapters"] = []
    values |= {"micro_batch_size": micro_batch_size, "num_steps": NUM_STEPS}
    values["accumulation_steps"] = GLOBAL_BATCH // world_size() // micro_batch_size
    config = check_config(values, schema=RunConfig, origin="splits.py")
    torch.manual_seed(0)
    model = build_model(config.model, dtype=str(dtype).removeprefix("torch.")).train()
    checkpoint_activations(model, again)
    if compiled:
        compile_model(model)
    spec = resolve_auto(load_deepspeed_json(config.deepspeed), config, dtype=dtype, hidden_size=32)
    engine = make_engine(
        model, parameter_groups(model, config.optim), spec, make_schedule(config.optim.schedule, NUM_STEPS)
    )
    task = TASKS.build(config.experience["source"]["sources"][0]["source"]["task"])
    found = []
    train(
        engine,
        steps(model.processor, task, micro_batch_size),
        OBJECTIVES.build({"type": "next_token"}),
        num_steps=NUM_STEPS,
        reports=[lambda report: found.append(report.metrics["loss"])],
    )
    return found


def main(out):
    join_processes()
    sizes = [size for size in (1, 2, 3) if GLOBAL_BATCH // world_size() % size == 0]
    found = {f"zero0/{size}": run("zero0", size, out) for size in sizes}
    with mock.patch("vlmzoo.models.outcome.target_statistics", IN_CHUNKS):
        for name in ("zero1", "zero2", "zero3"):
            found |= {f"{name}/{size}": run(name, size, out) for size in sizes}
        for name in ("zero2_offload", "zero3_offload"):
            found[name] = run(name, 1, out)
        parts = ["encoder", "language_model"]
        found |= {f"{name}, again": run(name, 1, out, again=parts) for name in ("zero0", "zero3", "zero3_offload")}
    if is_main():
        Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
