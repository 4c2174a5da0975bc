"""Gradient alignment of a real model: exact, in a sketch, in layers alone, and the parts of its loss."""

import json
from dataclasses import replace

import pytest
import torch

from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.config import AlignmentConfig
from vlmzoo.config.loading import check_config
from vlmzoo.data.collation import Collator
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.loss_parts import example_loss, measure_loss_parts
from vlmzoo.runs import alignment_run
from vlmzoo.types import assistant

TABLE = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3}
SIMPLE, HARD = {**TABLE, "path_cells": [2, 3]}, {**TABLE, "path_cells": [4, 6], "level": "hard"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = build_model(
        {
            "family": "llava",
            "encoder": {"type": "clip", "image_size": 28, "hidden_size": 16, "intermediate_size": 32, "num_layers": 2},
            "projector": {"type": "linear"},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
            },
            "processor": {
                "image": {"size": 28},
                "tokenizer": {"type": "byte_bpe", "corpus": [SIMPLE], "vocab_size": 320, "num_samples": 20},
            },
        }
    )
    return save_model(model, model.processor, tmp_path_factory.mktemp("model") / "m")


def make(folder, tmp_path, **options):
    values = {
        "model": {"path": str(folder), "dtype": "float32"},
        "simple": SIMPLE,
        "hard": HARD,
        "num_examples": 4,
        "seed": 7,
        "output_dir": str(tmp_path),
        **options,
    }
    return check_config(values, schema=AlignmentConfig, origin="test")


def test_a_level_is_as_good_as_itself_and_the_file_says_what_was_measured(folder, tmp_path):
    found = alignment_run(make(folder, tmp_path, hard=SIMPLE))
    assert found.score == pytest.approx(1.0)
    written = json.loads((tmp_path / "alignment.json").read_text())
    assert written["alignment"] == found.to_dict()
    assert set(written["loss_parts"]) == {"simple", "hard"} and written["parameters"] > 1000


def test_a_sketch_and_the_whole_gradient_agree(folder, tmp_path):
    exact = alignment_run(make(folder, tmp_path / "exact"))
    sketched = alignment_run(make(folder, tmp_path / "sketch", sketch_dim=1 << 15))
    assert sketched.score == pytest.approx(exact.score, abs=0.05)
    assert exact.score != pytest.approx(1.0, abs=1e-4)


def test_some_layers_can_be_looked_at_alone(folder, tmp_path):
    alignment_run(make(folder, tmp_path, parameters=["projector.*"]))
    assert json.loads((tmp_path / "alignment.json").read_text())["parameters"] < 1000
    with pytest.raises(ConfigError, match="`decoder.*` matches none"):
        alignment_run(make(folder, tmp_path, parameters=["decoder.*"]))


@torch.no_grad()
def test_the_parts_of_the_loss_are_means_over_their_own_tokens(folder):
    model, processor = load_model(folder, dtype="float32")
    task = TASKS.build(HARD)
    parts = measure_loss_parts(model, processor, task, seed=7, indices=[3])
    assert parts.direct == pytest.approx(float(example_loss(model, processor, task.sample("image", 7, 3))), rel=1e-6)
    whole = task.sample("image_via_text", 7, 3)
    num_targets = sum(label != -100 for label in processor.encode(whole)["labels"])
    instance = task.instance(7, 3)
    pieces = task.response(instance, "image_via_text").partition(task.text_form(instance))
    begun, text = (len(processor.tokenizer(piece, add_special_tokens=False)["input_ids"]) for piece in pieces[:2])
    encoded = processor.encode(replace(whole, messages=[whole.messages[0], assistant(pieces[0])]))
    batch = Collator(pad_token_id=processor.padding_id)([encoded])
    learned = batch.inputs["labels"][0] != -100
    announcement = -float(model(**batch.inputs).logprobs[0][learned][:begun].sum())
    total = announcement + parts.conversion * text + parts.solution * (num_targets - begun - text)
    assert total == pytest.approx(num_targets * float(example_loss(model, processor, whole)), rel=1e-5)
