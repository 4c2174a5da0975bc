"""Series of losses in several precisions, with the state in several places; writes them as JSON."""

import json
import sys
from pathlib import Path

import torch

from tests.smoke.splits import run
from vlmzoo.integrations.deepspeed import join_processes

WAYS = {
    "zero0, float32": ("zero0", torch.float32),
    **{
        f"{name}, bfloat16": (name, torch.bfloat16)
        for name in ("zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload")
    },
    **{f"{name}, float16": (name, torch.float16) for name in ("zero1", "zero2", "zero3")},
}


def main(out):
    join_processes()
    found = {name: run(deepspeed, 3, out, dtype=dtype) for name, (deepspeed, dtype) in WAYS.items()}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
