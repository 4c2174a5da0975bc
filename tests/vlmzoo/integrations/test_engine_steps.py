"""DeepSpeed's engine in one process: norms are told, and gradients that are not finite are dropped and counted."""

import math
import os
import subprocess
import sys

import pytest

CODE = """
import sys, torch
from tests.smoke.test_resume import make_config
from vlmzoo.config.loading import check_config
from vlmzoo.config.schema import RunConfig
from vlmzoo.integrations.deepspeed import join_processes, load_deepspeed_json, make_engine, resolve_auto

join_processes()
values = make_config("unused", deepspeed=sys.argv[1]) | {"accumulation_steps": 1}
config = check_config(values, schema=RunConfig, origin="test")
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
spec = resolve_auto(load_deepspeed_json(config.deepspeed), config, dtype=torch.float32, hidden_size=8)
groups = [{"params": list(model.parameters()), "lr": 0.1, "weight_decay": 0.0}]
engine = make_engine(model, groups, spec, lambda step: 1.0)

def weights():
    import deepspeed
    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        return [p.detach().clone() for p in engine.module.parameters()]

def step(x):
    before = weights()
    engine.backward(engine.engine(x).sum())
    told = engine.step()
    moved = any(not torch.equal(a, b) for a, b in zip(before, weights()))
    print("told", told["skipped"], told.get("grad_norm"), moved)

step(torch.ones(2, 3))
step(torch.full((2, 3), float("nan")))
step(torch.ones(2, 3))
"""


@pytest.mark.slow
@pytest.mark.parametrize("deepspeed", ["zero0", "zero1", "zero2", "zero3"])
def test_a_gradient_that_is_not_finite_is_dropped_and_counted(repository, deepspeed):
    done = subprocess.run(
        [sys.executable, "-c", CODE, deepspeed],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("told ")]
    first, second, third = told
    norm = math.sqrt(3 * 2.0**2 + 2.0**2)
    assert first[0] == "0.0" and float(first[1]) == pytest.approx(norm) and first[2] == "True"
    assert second[0] == "1.0" and second[1] == "None" and second[2] == "False"
    assert third[0] == "0.0" and float(third[1]) == pytest.approx(norm) and third[2] == "True"
