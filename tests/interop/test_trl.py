"""TRL's own trainers, unmodified, on our models; run by ``make test-slow``, in an environment beside ours."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.checkpoint import save_model

PYTHON = Path(__file__).parents[2] / ".venv-interop" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-interop/.installed"),
]


@pytest.mark.parametrize("name", ["llava-llama", "llava-qwen2", "qwen2.5-vl"])
def test_sft_trainer_takes_three_steps_and_learns(name, tmp_path):
    model = make_base(name)
    folder = save_model(model, model.processor, tmp_path / "model")
    script = Path(__file__).with_name("trl_sft.py")
    done = subprocess.run(
        [str(PYTHON), str(script), str(folder), str(tmp_path / "out")],
        cwd=script.parents[2],
        env={**os.environ, "PYTHONPATH": str(script.parents[2]), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["trainer"].startswith("trl.trainer.sft_trainer.SFTTrainer")
    assert len(said["losses"]) == 3 and said["losses"][-1] < said["losses"][0]
