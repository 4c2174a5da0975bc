"""Four rows, of which two have nothing for an adapter, over the ranks that run this; writes the loss series as JSON.

On two ranks the second one has no target in any step, so what the adapter has is idle there and must run all the same.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.smoke.test_resume import make_config
from tests.vlmzoo.adapters import search_samples, seg_samples, test_switch
from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.config.loading import check_config
from vlmzoo.config.schema import RunConfig
from vlmzoo.data.collation import Collator
from vlmzoo.distributed import is_main, rank, sum_over_ranks, world_size
from vlmzoo.integrations.deepspeed import join_processes, load_deepspeed_json, make_engine, resolve_auto
from vlmzoo.loop import train
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import Step
from vlmzoo.runs.optim import make_schedule, parameter_groups
from vlmzoo.types import Sample, assistant, user

GLOBAL_BATCH, NUM_STEPS = 4, 3


def seg_rows(step):
    return [seg_samples.make_sample((step + i) % 8, num_masks=num) for i, num in enumerate((2, 0, 1, 0))]


def search_rows(step):
    found = [search_samples.make_sample((step + i) % 8, num_boxes=1 + i // 2) for i in (0, 2)]
    return [found[0], search_samples.make_talk(step), found[1], search_samples.make_talk(step + 1)]


def switch_rows(step):
    """Short and long forms of images for the first rank, words alone for the second."""
    shown = [test_switch.make_question((step + i) % 8, num_objects=1 + i) for i in (0, 2)]
    shown = [replace(sample, messages=[*sample.messages, assistant("It is red.")]) for sample in shown]
    talk = [Sample(messages=[user(f"Say {step + i}."), assistant(f"{step + i}.")], images=[]) for i in range(2)]
    return [shown[0], talk[0], shown[1], talk[1]]


ADAPTERS = {
    "seg": (seg_samples.seg_spec(cache_size=0), seg_rows, "bce/loss"),
    "search": (search_samples.search_spec(), search_rows, "boxes/loss"),
    "switch": (test_switch.SWITCH, switch_rows, "text/loss"),
}
"""What is attached, four rows of a step, and the part of the loss that is told beside the whole."""


def steps(processor, make_rows):
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    for number in range(NUM_STEPS):
        rows = [processor.encode(sample) for sample in make_rows(number)]
        batches = [collate([row]) for row in rows[rank() :: world_size()]]
        counts = [batch.count() for batch in batches]
        yield Step(
            micro_batches=batches,
            denominators=sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]}),
        )


def run(adapter, stage, output_dir):
    attached, make_rows, part = ADAPTERS[adapter]
    values = make_config(output_dir, deepspeed=f"zero{stage}", num_workers=0)
    values["model"]["adapters"] = []
    values |= {"micro_batch_size": 1, "num_steps": NUM_STEPS, "accumulation_steps": GLOBAL_BATCH // world_size()}
    config = check_config(values, schema=RunConfig, origin="adapter_ranks.py")
    model = make_base("llava-llama", adapters=[attached]).train()
    terms = {"text": {"type": "next_token"}, **model.adapters[adapter].loss_terms}
    objective = OBJECTIVES.build({"type": "weighted_sum", "terms": terms})
    processor = model.processor
    spec = resolve_auto(load_deepspeed_json(config.deepspeed), config, dtype=torch.float32, hidden_size=32)
    engine = make_engine(
        model, parameter_groups(model, config.optim), spec, make_schedule(config.optim.schedule, NUM_STEPS)
    )
    found = []
    train(
        engine,
        steps(processor, make_rows),
        objective,
        num_steps=NUM_STEPS,
        reports=[lambda report: found.append([report.metrics["loss"], report.metrics[part]])],
    )
    return found


def main(adapter, out):
    join_processes()
    stages = (0,) if world_size() == 1 else (2, 3)
    found = {f"zero{stage}": run(adapter, stage, out) for stage in stages}
    if is_main():
        Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
