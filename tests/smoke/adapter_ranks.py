"""Four rows with 2, 0, 1 and 0 masks over the ranks that run this; writes the loss series as JSON.

On two ranks the second one has no mask in any step, so its decoder is idle and must run all the same.
"""

import json
import sys
from pathlib import Path

import torch

from tests.smoke.test_resume import make_config
from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.seg_samples import make_objective, make_sample, seg_spec
from vlmzoo.config.loading import check_config
from vlmzoo.config.schema import RunConfig
from vlmzoo.data.collation import Collator
from vlmzoo.distributed import is_main, rank, sum_over_ranks, world_size
from vlmzoo.integrations.deepspeed import join_processes, load_deepspeed_json, make_engine, resolve_auto
from vlmzoo.loop import train
from vlmzoo.outputs import Step
from vlmzoo.runs.optim import make_schedule, parameter_groups

GLOBAL_BATCH, NUM_STEPS = 4, 3
NUM_MASKS = (2, 0, 1, 0)


def steps(processor):
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    for number in range(NUM_STEPS):
        rows = [processor.encode(make_sample((number + i) % 8, num_masks=num)) for i, num in enumerate(NUM_MASKS)]
        batches = [collate([row]) for row in rows[rank() :: world_size()]]
        counts = [batch.count() for batch in batches]
        yield Step(
            micro_batches=batches,
            denominators=sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]}),
        )


def run(stage, output_dir):
    values = make_config(output_dir, deepspeed=f"zero{stage}", num_workers=0)
    values["model"]["adapters"] = []
    values |= {"micro_batch_size": 1, "num_steps": NUM_STEPS, "accumulation_steps": GLOBAL_BATCH // world_size()}
    config = check_config(values, schema=RunConfig, origin="seg_ranks.py")
    model = make_base("llava-llama", adapters=[seg_spec(cache_size=0)]).train()
    objective = make_objective(model)
    processor = model.processor
    spec = resolve_auto(load_deepspeed_json(config.deepspeed), config, dtype=torch.float32, hidden_size=32)
    engine = make_engine(
        model, parameter_groups(model, config.optim), spec, make_schedule(config.optim.schedule, NUM_STEPS)
    )
    found = []
    train(
        engine,
        steps(processor),
        objective,
        num_steps=NUM_STEPS,
        reports=[lambda report: found.append([report.metrics["loss"], report.metrics["bce/loss"]])],
    )
    return found


def main(out):
    join_processes()
    stages = (0,) if world_size() == 1 else (2, 3)
    found = {f"zero{stage}": run(stage, out) for stage in stages}
    if is_main():
        Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
