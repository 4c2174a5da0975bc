"""An Eagle of five encoders trains under ZeRO-3 on two ranks, and every encoder that learns has a gradient."""

import os
import subprocess

import pytest
import torch
import yaml

from tests.vlmzoo.models.test_eagle import UNREAD, make_x5
from vlmzoo import load_model
from vlmzoo.checkpoint.saving import save_model
from vlmzoo.runs.journal import read_journal

TASK = {
    "type": "consecutive_table_readout",
    "style": "compact",
    "num_rows": 2,
    "num_cols": 3,
    "path_cells": [2, 3],
}


def make_config(folder, output_dir):
    """Two steps of two micro-batches of pictures and texts, without decay: what has no gradient stays as it is."""
    return {
        "output_dir": str(output_dir),
        "model": {"path": str(folder)},
        "experience": {
            "type": "supervised",
            "source": {"type": "synthetic", "task": TASK, "kinds": {"text": 1, "image": 1}, "seed": 1},
        },
        "objective": {"type": "next_token"},
        "optim": {"learning_rate": 1e-3, "weight_decay": 0.0, "schedule": {"type": "constant", "warmup": 0.0}},
        "num_steps": 2,
        "micro_batch_size": 2,
        "accumulation_steps": 2,
        "deepspeed": "zero3",
    }


@pytest.mark.slow
def test_every_trainable_encoder_learns_under_zero3_on_two_ranks(repository, tmp_path):
    started = make_x5(language_model=_long())
    folder = save_model(started, started.processor, tmp_path / "start")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(make_config(folder, tmp_path / "run")))
    launcher = ["torchrun", "--nproc-per-node", "2", "--master-port", "29547", "training/train.py", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        launcher, cwd=repository, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert [line["step"] for line in read_journal(tmp_path / "run" / "journal.jsonl")] == [1, 2]
    trained, _ = load_model(tmp_path / "run" / "final")
    before, after = started.state_dict(), trained.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert all(any(part in name for part in (*UNREAD, "embed_tokens")) for name in still), still
    moved = {int(name.split(".")[1]) for name in before if name.startswith("encoders.") and name not in still}
    assert moved == {0, 1, 2, 3, 4}


def _long():
    """The language model of the miniature, with room for a table and its text."""
    from vlmzoo.zoo import load_card

    return load_card("eagle-x5-7b").miniature()["language_model"] | {"max_position_embeddings": 1024}
