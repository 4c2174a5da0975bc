"""vLLM itself, built for a CPU, serves and draws what our models think; run by ``make test-slow``, beside ours."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.zoo import load_card

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
SCRIPT = Path(__file__).with_name("vllm_rollouts.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-vllm/.installed"),
]


def miniature(name):
    """A card's miniature whose heads are as wide as vLLM's kernels for a CPU want them: 32."""
    spec = load_card(name).miniature()
    if spec["family"] != "native":
        spec["language_model"]["hidden_size"] = 128
        return spec
    spec["config"]["text_config"]["hidden_size"] = 128
    spec["config"]["text_config"]["rope_parameters"]["mrope_section"] = [4, 6, 6]
    spec["config"]["vision_config"]["out_hidden_size"] = 128
    return spec


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    folders = {}

    def made(name):
        if name not in folders:
            torch.manual_seed(0)
            model = build_model(miniature(name))
            folders[name] = save_model(model, model.processor, tmp_path_factory.mktemp("vllm") / name)
        return folders[name]

    return made


def environment(**more):
    return {
        **os.environ,
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "VLLM_PLUGINS": "vlmzoo",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        **more,
    }


def run(*command, cwd):
    done = subprocess.run(
        [str(PYTHON), *map(str, command)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.timeout(420)
@pytest.mark.parametrize("name", ["llava-1.5-7b", "eagle-x2-llama3-8b", "qwen2.5-vl-3b"])
def test_the_engine_draws_from_the_policy_also_when_it_has_moved(name, folder_of, tmp_path):
    run(SCRIPT, folder_of(name), cwd=tmp_path)
    before, after = json.loads((tmp_path / "said.json").read_text(encoding="utf-8"))
    assert before["gap"] < 1e-5 and after["gap"] < 1e-5  # two implementations in float32
    assert before["logprobs"] != after["logprobs"]
    for group in before["ids"]:
        assert len(group) == 2 and group[0] != group[1]


@pytest.fixture
def server(folder_of, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", port, "--served-model-name", "policy", "--dtype", "float32"]
    limits = ["--max-model-len", 256, "--gpu-memory-utilization", 0.2, "--enforce-eager"]
    command = ["-m", "vllm.entrypoints.openai.api_server", "--model", folder_of("llava-1.5-7b")]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [str(PYTHON), *map(str, [*command, "--model-impl", "transformers", *options, *limits])],
            cwd=tmp_path,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(60)


def wait_for(url, process, log, seconds=240):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise AssertionError(log.read_text(encoding="utf-8")[-4000:])


@pytest.mark.timeout(700)
def test_a_server_of_a_composed_model_gives_what_the_policy_thinks(server, folder_of, tmp_path):
    run(SCRIPT, folder_of("llava-1.5-7b"), server, cwd=tmp_path)
    [told] = json.loads((tmp_path / "said.json").read_text(encoding="utf-8"))
    assert told["gap"] < 1e-5


@pytest.mark.timeout(420)
def test_grpo_trains_with_rollouts_of_vllm(folder_of, tmp_path):
    folder = folder_of("llava-1.5-7b")
    config = {
        "base": "tiny/virft/classification",
        "output_dir": str(tmp_path / "run"),
        "model": {"architecture": None, "path": str(folder)},
        "experience": {"engine": {"type": "vllm", "path": str(folder), "gpu_memory_utilization": 0.2}},
        "num_steps": 2,
    }
    (tmp_path / "grpo.yaml").write_text(json.dumps(config), encoding="utf-8")
    run(ROOT / "training" / "train.py", tmp_path / "grpo.yaml", cwd=tmp_path)
    steps = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps if "loss" in step] == [1, 2]
    assert steps[0]["drift_nats"] == pytest.approx(0, abs=1e-5)  # what vLLM told is what the policy trains on
    assert all(step["completion_tokens"] > 0 for step in steps if "loss" in step)
