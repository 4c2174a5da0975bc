"""What is evaluated at the end of a run is what was trained: its weights, its kernels, its precision."""

import importlib

from tests.vlmzoo.runs.test_sweep import QUESTIONS, RUN, SIMPLE
from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.config import RunConfig
from vlmzoo.config.loading import check_config
from vlmzoo.evaluation import BENCHMARKS
from vlmzoo.runs import quality, train_run

training = importlib.import_module("vlmzoo.runs.train")


def test_a_run_is_evaluated_with_the_attention_that_it_was_trained_with_also_when_it_is_read_back(
    tmp_path, monkeypatch
):
    values = {**RUN, "model": {**RUN["model"], "attn_implementation": "eager"}, "evaluation": {}}
    config = check_config({**values, "output_dir": str(tmp_path / "run")}, schema=RunConfig, origin="test")
    train, evaluated = training._train, []
    monkeypatch.setattr(training, "_train", lambda *args: (train(*args)[0], True))  # as ZeRO-3 leaves it
    monkeypatch.setattr(training, "conclude", lambda config, folder, model, *rest: evaluated.append(model) or {})
    train_run(config)
    train_run(config)  # it is finished, and evaluated again
    assert [model.language_model.config._attn_implementation for model in evaluated] == ["eager", "eager"]
    assert [model.config.name_or_path for model in evaluated] == [str(tmp_path / "run" / "final")] * 2


def test_a_run_is_read_back_with_the_quantization_that_it_was_trained_with(tmp_path, monkeypatch):
    folder = training.RunFolder(tmp_path / "run")
    model = {"path": "a/base", "quantization": "nf4", "dtype": "bfloat16", "adapters": ["lora"]}
    config = check_config({**RUN, "model": model}, schema=RunConfig, origin="test")
    read = training._final(config, folder)
    assert (read.path, read.quantization, read.dtype, read.adapters) == (str(folder.final), "nf4", "bfloat16", [])


def test_what_was_saved_is_compared_under_the_attention_that_it_was_trained_with(tmp_path, monkeypatch):
    architecture = RUN["model"]["architecture"]
    model = build_model(architecture, attn_implementation="eager")
    save_model(model, model.processor, tmp_path / "final")
    asked, complete = [], quality.complete

    def noted(model, *args, **options):
        asked.append(model.get_decoder().config._attn_implementation)
        return complete(model, *args, **options)

    monkeypatch.setattr(quality, "complete", noted)
    benchmark = BENCHMARKS.build({**QUESTIONS, "task": SIMPLE, "kind": "image"})
    assert quality.reload_is_identical(
        model, model.processor, tmp_path / "final", benchmark, attn_implementation="eager"
    )
    assert asked == ["eager", "eager"]
