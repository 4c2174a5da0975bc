"""The configurations under ``configs/eval``: each says how it is run, is valid, and runs at tiny size."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from vlmzoo import build_model
from vlmzoo.config import EvalConfig, load_config
from vlmzoo.evaluation.benchmarks import BENCHMARKS

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIGS = sorted((REPOSITORY / "configs" / "eval").glob("*.yaml"))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A folder with a random model of a few thousand parameters."""
    task = {"type": "consecutive_table_readout"}
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = {"image_size": 28, "patch_size": 14, "hidden_size": 16, "intermediate_size": 32}
    torch.manual_seed(0)
    model = build_model(
        {
            "family": "llava",
            "encoder": {"type": "clip", **encoder, "num_layers": 1, "num_heads": 2},
            "projector": {"type": "linear"},
            "language_model": {"type": "causal_lm", "model_type": "llama", **text, "num_key_value_heads": 2},
            "processor": {
                "image": {"size": 28},
                "tokenizer": {"type": "byte_bpe", "corpus": [task], "vocab_size": 300, "num_samples": 2},
            },
        }
    )
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    model.processor.save_pretrained(folder)
    return folder


def test_there_are_configs():
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_opens_with_the_command_that_runs_it_and_can_be_built(path):
    assert f"python eval/evaluate.py configs/eval/{path.name}" in "".join(path.read_text().splitlines()[:3])
    config = load_config(path, schema=EvalConfig)
    for spec in config.benchmarks.values():
        BENCHMARKS.check(spec)
        if spec["type"] == "synthetic":  # the others read data sets from the disk
            assert BENCHMARKS.build(spec).num_questions >= 100


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_script_runs_a_config_from_the_command_line(path, model_folder, tmp_path, monkeypatch):
    config = load_config(path, schema=EvalConfig)
    benchmarks = config.benchmarks
    if config.lmms_eval is not None or any(spec["type"] != "synthetic" for spec in benchmarks.values()):
        pytest.skip("its benchmarks read data sets from the disk, or lmms-eval from the Hub")
    labels = list(benchmarks)
    small = [f"benchmarks.{label}.{key}" for label in labels for key in ("num_questions=2", "max_new_tokens=2")]
    arguments = [str(path), f"model.path={model_folder}", f"output_dir={tmp_path / 'out'}", *small]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
    try:
        runpy.run_path(str(REPOSITORY / "eval" / "evaluate.py"), run_name="__main__")
    except SystemExit as end:
        assert not end.code
    assert list(json.loads((tmp_path / "out" / "scores.json").read_text())) == labels
