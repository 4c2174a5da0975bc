"""A sweep: planned before anything runs, every phase a run, gone on with, and summed up."""

import json

import pytest
import yaml

from vlmzoo.config import SweepConfig
from vlmzoo.config.loading import check_config
from vlmzoo.errors import ConfigError, VlmzooError
from vlmzoo.runs import sweep, sweep_run
from vlmzoo.runs.sweep import plan_arms

TABLE = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3}
SIMPLE = {**TABLE, "path_cells": [2, 3], "image": {"cell_width": 32, "cell_height": 32}}
HARD = {**SIMPLE, "path_cells": [4, 6], "level": "hard"}
QUESTIONS = {"type": "synthetic", "num_questions": 3, "seed": 99, "max_new_tokens": 4}
RUN = {
    "model": {
        "architecture": {
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
    },
    "experience": {
        "type": "curriculum",
        "supervision": "mix",
        "budget": 12,
        "align_budget": 6,
        "tasks": {"simple": SIMPLE, "hard": HARD},
    },
    "optim": {"learning_rate": 1e-3},
    "num_steps": 2,
    "micro_batch_size": 6,
    "deepspeed": "zero0",
    "report_to": [],
    "output_dir": "unused",
    "evaluation": {
        "hard_image": {**QUESTIONS, "task": HARD, "kind": "image"},
        "hard_text": {**QUESTIONS, "task": HARD, "kind": "text"},
    },
}


def make(tmp_path, **options):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(RUN))
    values = {
        "run": str(path),
        "supervisions": ["image", "align_mix_plus"],
        "budgets": [12],
        "baseline": "image",
        "output_dir": str(tmp_path / "sweep"),
        **options,
    }
    return check_config(values, schema=SweepConfig, origin="test")


def test_every_arm_gets_the_steps_of_its_budget_and_every_phase_a_run(tmp_path):
    arms = plan_arms(make(tmp_path, budgets=[12, 24], seeds=[0, 1]))
    assert [(arm.supervision, arm.budget, arm.seed) for arm in arms][:4] == [
        ("image", 12, 0),
        ("align_mix_plus", 12, 0),
        ("image", 24, 0),
        ("align_mix_plus", 24, 0),
    ]
    align, mix = arms[1].runs
    assert (align.num_steps, align.experience["phase"], align.evaluation) == (1, 1, {})
    assert (mix.num_steps, mix.experience["phase"], list(mix.evaluation)) == (2, 2, ["hard_image", "hard_text"])
    assert mix.model.path == f"{align.output_dir}/final" and mix.model.architecture is None
    assert len({run.output_dir for arm in arms for run in arm.runs}) == 12


def test_every_phase_is_loaded_with_the_options_of_the_run(tmp_path):
    options = {"dtype": "float32", "attn_implementation": "eager", "quantization": "nf4"}
    overrides = [f"model.{name}={value}" for name, value in options.items()]
    overrides += ["model.adapters=[{type: lora, rank: 2}]", "model.parts.projector=runs/a/final"]
    (arm,) = plan_arms(make(tmp_path, supervisions=["align_mix_plus"], baseline=None, overrides=overrides))
    first, second = (run.model for run in arm.runs)
    for model in (first, second):
        assert {name: getattr(model, name) for name in options} == options
    assert first.adapters and first.parts
    assert (second.adapters, second.parts) == ([], {})  # they are in the folder, and have learned there


def test_batches_grow_with_the_processes(tmp_path):
    (arm,) = plan_arms(make(tmp_path, supervisions=["image"], processes=2))
    assert arm.runs[0].num_steps == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"run": "tiny/quickstart"}, "must have an experience of type `curriculum`.*has `supervised`"),
        ({"budgets": [10], "supervisions": ["mix_plus", "image"]}, "`budget` must be a multiple of 6.*is 10 instead"),
        ({"main": "hard_imag"}, "`main` must be a label.*hard_image, hard_text.*`hard_imag`"),
        ({"baseline": "mix"}, "`baseline` must be one of `supervisions`"),
        ({"seeds": [1, 1]}, r"`seeds` must name each once, but is \[1, 1\]"),
        ({"supervisions": ["image", "imag"]}, "Did you mean `image`"),
    ],
)
def test_what_cannot_run_is_refused_before_the_first_run(tmp_path, options, sentence):
    config = make(tmp_path, **options)
    with pytest.raises(ConfigError, match=sentence):
        sweep_run(config)
    assert not (tmp_path / "sweep").exists()


def test_a_run_of_another_length_than_its_curriculum_is_refused(tmp_path):
    from vlmzoo.config import RunConfig
    from vlmzoo.runs import train_run

    run = check_config({**RUN, "num_steps": 3, "output_dir": str(tmp_path)}, schema=RunConfig, origin="test")
    with pytest.raises(ConfigError, match="`num_steps` must be 2, the steps that the experience has, but is 3"):
        train_run(run)


def test_a_sweep_trains_evaluates_and_compares_and_does_nothing_twice(tmp_path, monkeypatch):
    config = make(tmp_path, seeds=[0, 1], publish=str(tmp_path / "published.md"))
    summary = sweep_run(config)
    rows = {row.supervision: row for row in summary.rows}
    assert [list(row.seeds) for row in summary.rows] == [[0, 1], [0, 1]]
    assert rows["image"].main("hard_image").num == 2 * 3
    assert set(rows["image"].gaps) == {"s2h_generalisation", "modality_imbalance"}
    assert not rows["image"].against and list(rows["align_mix_plus"].against) == ["hard_image", "hard_text"]
    written = json.loads((tmp_path / "sweep" / "summary.json").read_text())
    assert [row["supervision"] for row in written["rows"]] == ["image", "align_mix_plus"]
    published = (tmp_path / "published.md").read_text()
    assert published == summary.markdown() and "4 of 4 runs" in published
    assert (tmp_path / "sweep" / "accuracy.png").stat().st_size > 5000
    monkeypatch.setattr(sweep, "train_run", lambda run: pytest.fail("trained again"))
    assert sweep_run(config).rows == summary.rows


def test_runs_in_processes_of_their_own_are_started_and_their_failure_is_told(tmp_path):
    config = make(tmp_path, supervisions=["image"], launch=["false"])
    with pytest.raises(VlmzooError, match=r"`false .*image-12-seed0.json` ended with code 1"):
        sweep_run(config)
    with pytest.raises(ConfigError, match="`launch` must be a command"):
        sweep_run(make(tmp_path, supervisions=["image"], launch=["no-such-launcher"]))
