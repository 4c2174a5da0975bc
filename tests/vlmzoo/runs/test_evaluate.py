import io
import json

import pytest
import torch
from rich.console import Console

from vlmzoo import build_model
from vlmzoo.config import EvalConfig
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import CheckpointError, ConfigError, DataError
from vlmzoo.evaluation import complete
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.runs.evaluate import evaluate_run, progress_by_label

TASK = {
    "type": "consecutive_table_readout",
    "level": "simple",
    "style": "compact",
    "num_rows": 2,
    "num_cols": 3,
    "path_cells": [2, 3],
}
ARCHITECTURE = {
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
    "projector": {"type": "linear"},
    "language_model": {
        "type": "causal_lm",
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
    "processor": {
        "image": {"size": 28},
        "tokenizer": {"type": "byte_bpe", "corpus": [TASK], "vocab_size": 300, "num_samples": 5},
    },
}


def make_spec(**options):
    return {"type": "synthetic", "task": TASK, "num_questions": 5, "seed": 3, "max_new_tokens": 8, **options}


def make_config(output_dir, model, **benchmarks):
    benchmarks = benchmarks or {"image": make_spec(kind="image"), "text": make_spec(kind="text")}
    return EvalConfig(model=model, benchmarks=benchmarks, output_dir=str(output_dir), batch_size=2)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(ARCHITECTURE)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    model.processor.save_pretrained(folder)
    return folder


def test_a_folder_is_measured_from_its_path_to_its_scores(tmp_path, model_folder, capsys):
    results = evaluate_run(make_config(tmp_path / "out", {"path": str(model_folder)}))
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert {label: result.to_dict() for label, result in results.items()} == scores
    assert len((tmp_path / "out" / "image" / "generations.jsonl").read_text().splitlines()) == 5
    assert json.loads((tmp_path / "out" / "config.resolved.json").read_text())["config"]["batch_size"] == 2
    shown = capsys.readouterr()
    assert "table_exact_match" in shown.out
    assert "image 5/5" in shown.err


def test_a_second_run_of_the_same_command_asks_nothing(tmp_path, model_folder, monkeypatch):
    config = make_config(tmp_path, {"path": str(model_folder)})
    first = evaluate_run(config)
    monkeypatch.setattr("vlmzoo.evaluation.runner.complete", None)
    assert evaluate_run(config) == first


def test_an_architecture_is_measured_with_random_weights_as_a_baseline(tmp_path):
    results = evaluate_run(
        make_config(tmp_path, {"architecture": ARCHITECTURE, "pretrained": False}, text=make_spec(kind="text"))
    )
    assert results["text"].scores["table_exact_match"].num == 5


def test_a_folder_of_another_models_answers_is_refused(tmp_path, model_folder):
    text = make_spec(kind="text")
    evaluate_run(make_config(tmp_path, {"path": str(model_folder)}, text=text))
    other = make_config(tmp_path, {"architecture": ARCHITECTURE, "pretrained": False}, text=text)
    torch.manual_seed(1)
    with pytest.raises(DataError, match="`model` was"):
        evaluate_run(other)
    evaluate_run(other, overwrite=True)


def test_a_model_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="check the path"):
        evaluate_run(make_config(tmp_path / "out", {"path": str(tmp_path / "missing")}))


def test_an_output_folder_that_cannot_be_made_is_an_error_before_the_model_is_loaded(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="`output_dir` must be a folder"):
        evaluate_run(make_config(tmp_path / "file" / "out", {"path": "does/not/matter"}))


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_batch_padded_on_the_left_answers_as_one_by_one(model, kind):
    questions = list(BENCHMARKS.build(make_spec(kind=kind)).questions())
    together = complete(model, model.processor, questions, max_new_tokens=8)
    alone = [complete(model, model.processor, [question], max_new_tokens=8)[0] for question in questions]
    assert len({completion.num_prompt_tokens for completion in together}) > 1
    assert together == alone


def test_a_real_model_never_says_a_placeholder_even_if_it_wants_to(model):
    image_id = model.processor.image_token_id
    question = next(iter(BENCHMARKS.build(make_spec(kind="text")).questions()))
    head = model.get_output_embeddings().weight
    kept = head.detach().clone()
    try:
        with torch.no_grad():
            head[image_id] = 1e3 * head[5]
        (answer,) = complete(model, model.processor, [question], max_new_tokens=8)
    finally:
        with torch.no_grad():
            head.copy_(kept)
    assert answer.num_completion_tokens == 8
    assert TASKS  # the question came from a real task
    assert "<image>" not in answer.text


def test_each_label_has_its_own_line_of_progress():
    stream = io.StringIO()
    with progress_by_label(Console(file=stream, width=80)) as report:
        report("first", 2, 4)
        report("first", 4, 4)
        report("second", 3, 3)
    lines = [line.split("  ETA")[0] for line in stream.getvalue().splitlines()]
    assert lines == ["first 2/4", "first 4/4", "second 3/3"]
