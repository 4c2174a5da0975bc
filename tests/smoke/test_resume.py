"""A run that is killed anywhere goes on as if nothing had happened: the same losses to the last bit."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from vlmzoo.config import load_config
from vlmzoo.errors import ConfigError
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.resume import begin

NUM_STEPS = 12

TASK = {
    "type": "consecutive_table_readout",
    "style": "compact",
    "num_rows": 2,
    "num_cols": 3,
    "path_cells": [2, 3],
    "distinct_prompts": True,
}


def make_config(folder, *, deepspeed="zero0", num_workers=2, packing=True):
    """Dropout, shuffling, a mixture, packing, accumulation and workers: all that has a state."""
    sources = [
        {"weight": 2.0, "source": {"type": "synthetic", "task": TASK, "kinds": {"image": 1.0, "text": 1.0}, "seed": 1}},
        {"weight": 1.0, "source": {"type": "synthetic", "task": TASK, "kinds": {"image_via_text": 1.0}, "seed": 2}},
    ]
    return {
        "output_dir": str(folder),
        "model": {
            "architecture": {
                "family": "llava",
                "encoder": {
                    "type": "clip",
                    "image_size": 28,
                    "patch_size": 14,
                    "hidden_size": 32,
                    "intermediate_size": 64,
                    "num_layers": 2,
                    "num_heads": 2,
                },
                "projector": {"type": "mlp2x_gelu"},
                "language_model": {
                    "type": "causal_lm",
                    "model_type": "llama",
                    "hidden_size": 32,
                    "intermediate_size": 64,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 2,
                    "attention_dropout": 0.1,
                },
                "processor": {
                    "image": {"aspect": "pad", "size": 28},
                    "tokenizer": {"type": "byte_bpe", "corpus": [TASK], "vocab_size": 320, "num_samples": 20},
                    "chat_template": "plain",
                },
            },
            "adapters": [{"type": "lora", "rank": 2, "dropout": 0.1}],
        },
        "experience": {
            "type": "supervised",
            "source": {"type": "mixture", "sources": sources, "seed": 0},
            "max_tokens": 400,
            "packing": packing,
            "packing_window": 16,
            "num_workers": num_workers,
        },
        "optim": {"learning_rate": 1e-2, "schedule": {"type": "cosine"}},
        "num_steps": NUM_STEPS,
        "micro_batch_size": 1,
        "accumulation_steps": 2,
        "deepspeed": deepspeed,
        "checkpoints": {"every": 2, "keep": 2},
        "report_to": [],
    }


def start(repository, path, *overrides, num_ranks=1, port=29561):
    launcher = [sys.executable]
    if num_ranks > 1:
        launcher = ["torchrun", "--nproc-per-node", str(num_ranks), "--master-port", str(port)]
    return subprocess.Popen(
        [*launcher, "training/train.py", str(path), *overrides],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, *, timeout=400):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output[-4000:]
    return output


def steps_in(folder):
    path = folder / "journal.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def wait_for(folder, step, process, *, timeout=300):
    end = time.monotonic() + timeout
    while steps_in(folder) < step:
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0][-4000:]
        time.sleep(0.02)


def wait_for_a_save(folder, process, *, timeout=300):
    """Wait until a checkpoint is being written; return the folder that it is written into."""
    end = time.monotonic() + timeout
    while True:
        for partial in (folder / "checkpoints").glob(".step-*.partial"):
            return partial
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0][-4000:]
        time.sleep(0.0005)


def children_of(pid):
    """The processes that a process started; torchrun gives each rank a session of its own, so no group holds them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                found += [int(entry.name)] if int(parent) == pid else []
    return found


def kill(process):
    """End a launcher, its ranks and their data workers at once, without a word."""
    family = [process.pid]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)  # so that nobody starts another meanwhile
        family += children_of(pid)
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    return process.wait(timeout=60)


def losses(folder):
    rows = read_journal(folder / "journal.jsonl")
    assert [row["step"] for row in rows] == list(range(1, NUM_STEPS + 1))
    return [(row["loss"], row["grad_norm"], row["tokens"]) for row in rows]


def write(folder, config):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("num_ranks", "deepspeed"), [(1, "zero0"), (1, "zero2"), (2, "zero2"), (2, "zero3")])
def test_kills_at_random_moments_leave_no_trace(repository, tmp_path, num_ranks, deepspeed):
    whole = write(tmp_path, make_config(tmp_path / "whole", deepspeed=deepspeed))
    finish(start(repository, whole, num_ranks=num_ranks))
    expected = losses(tmp_path / "whole")
    config = write(tmp_path, make_config(tmp_path / "killed", deepspeed=deepspeed))
    draw = random.Random(num_ranks)
    for step in (3, 8):
        process = start(repository, config, num_ranks=num_ranks)
        wait_for(tmp_path / "killed", step, process)
        time.sleep(draw.random() * 0.3)  # between micro-batches, in a save, anywhere
        kill(process)
    finish(start(repository, config, num_ranks=num_ranks))
    assert losses(tmp_path / "killed") == expected


@pytest.mark.slow
@pytest.mark.parametrize(("num_ranks", "deepspeed"), [(1, "zero0"), (2, "zero2")])
def test_a_kill_in_the_middle_of_a_save_leaves_no_trace(repository, tmp_path, num_ranks, deepspeed):
    whole = write(tmp_path, make_config(tmp_path / "whole", deepspeed=deepspeed))
    finish(start(repository, whole, num_ranks=num_ranks))
    config = write(tmp_path, make_config(tmp_path / "killed", deepspeed=deepspeed))
    for step in (0, 5):
        process = start(repository, config, num_ranks=num_ranks)
        wait_for(tmp_path / "killed", step, process)
        partial = wait_for_a_save(tmp_path / "killed", process)
        kill(process)
        assert partial.exists()  # so the save was cut off
    finish(start(repository, config, num_ranks=num_ranks))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("num_ranks", "deepspeed"), [(1, "zero0"), (2, "zero2"), (2, "zero3")])
def test_a_run_that_is_asked_to_stop_saves_leaves_with_0_and_goes_on(repository, tmp_path, num_ranks, deepspeed):
    whole = write(tmp_path, make_config(tmp_path / "whole", deepspeed=deepspeed))
    finish(start(repository, whole, num_ranks=num_ranks))
    config = write(tmp_path, make_config(tmp_path / "stopped", deepspeed=deepspeed) | {"checkpoints": {"every": 0}})
    process = start(repository, config, num_ranks=num_ranks)
    wait_for(tmp_path / "stopped", 5, process)
    asked = time.monotonic()
    ranks = [process.pid] if num_ranks == 1 else children_of(process.pid)
    assert len(ranks) == num_ranks
    for pid in ranks:
        os.kill(pid, signal.SIGTERM)
    finish(process, timeout=120)
    assert time.monotonic() - asked < 25
    stopped_at = steps_in(tmp_path / "stopped")
    assert 5 <= stopped_at < NUM_STEPS
    assert (tmp_path / "stopped" / "checkpoints" / f"step-{stopped_at}" / "run.json").is_file()
    finish(start(repository, config, num_ranks=num_ranks))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_a_killed_run_goes_on_and_another_configuration_is_refused(repository, tmp_path):
    whole = write(tmp_path, make_config(tmp_path / "whole", num_workers=0))
    finish(start(repository, whole))
    expected = losses(tmp_path / "whole")
    config = write(tmp_path, make_config(tmp_path / "killed", num_workers=0))
    process = start(repository, config)
    wait_for(tmp_path / "killed", 5, process)
    kill(process)
    folder = tmp_path / "killed"
    (folder / "checkpoints" / ".step-6.partial").mkdir(exist_ok=True)  # as a kill during a save leaves it
    with pytest.raises(ConfigError, match=r"unfinished run.*`optim.learning_rate`: 0.01 → 0.02.*overwrite=true"):
        begin(load_config(config, ["optim.learning_rate=2e-2"]), RunFolder(folder))
    finish(start(repository, config))
    assert losses(folder) == expected
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["step-10", "step-8"]


@pytest.mark.slow
def test_a_finished_run_is_evaluated_again_and_makes_room_for_another(repository, tmp_path):
    folder = tmp_path / "run"
    config = write(tmp_path, make_config(folder, num_workers=0))
    finish(start(repository, config))
    expected = losses(folder)
    again = finish(start(repository, config))  # finished: evaluated again, nothing trained
    assert losses(folder) == expected and "is finished" in again
    finish(start(repository, config, "seed=1", "num_steps=2"))
    assert losses(tmp_path / "run.1") == expected  # the finished run was moved aside
    assert json.loads((folder / "config.resolved.json").read_text())["config"]["seed"] == 1
