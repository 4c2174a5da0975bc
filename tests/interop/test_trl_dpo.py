"""TRL's own DPOTrainer, unmodified, gives our loss on the same pairs; run by ``make test-slow``, in its environment."""

import json
import os
import subprocess

import pytest
import torch

from tests.interop.test_trl import PYTHON
from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.checkpoint import save_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-interop/.installed"),
]


def test_sigmoid_ipo_and_hinge_are_trls(tmp_path):
    model = make_base("llava-llama")
    policy = save_model(model, model.processor, tmp_path / "policy")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
    reference = save_model(model, model.processor, tmp_path / "reference")
    root = PYTHON.parents[2]
    done = subprocess.run(
        [str(PYTHON), str(root / "tests/interop/trl_dpo.py"), str(policy), str(reference), str(tmp_path / "out")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["trainer"].startswith("trl.trainer.dpo_trainer.DPOTrainer")
    trivial = {"sigmoid": 0.6931, "hinge": 1.0, "ipo": (1 / 0.6) ** 2}
    for loss, (ours, theirs) in told["losses"].items():
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
        assert ours != pytest.approx(trivial[loss], rel=1e-3)  # the two models do differ
