"""Dry runs find every wrong name and what cannot go together, and build and read nothing."""

import pytest
from typer.testing import CliRunner

from vlmzoo.cli import app
from vlmzoo.config import load_config
from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.runs import train as training
from vlmzoo.runs.train import train_run

ROLLOUTS, ONLINE, CURRICULUM, SEG = "tiny/virft/detection", "tiny/ovip", "tiny/s2h/mini_table", "tiny/seg"
NOPE = "{type: nope}"


def dry(command, *words):
    return CliRunner().invoke(app, [command, *words, "--dry-run"])


@pytest.mark.parametrize(
    ("command", "config", "override", "kind"),
    [
        ("train", ROLLOUTS, "experience.type=nope", "experience"),
        ("train", ROLLOUTS, f"experience.source={NOPE}", "source"),
        ("train", ROLLOUTS, f"experience.source.task={NOPE}", "synthetic task"),
        ("train", ROLLOUTS, f"experience.rewards=[{NOPE}]", "score"),
        ("train", ROLLOUTS, "experience.rewards=[{type: judge, judge: {type: nope}}]", "judge"),
        ("train", ROLLOUTS, f"experience.engine={NOPE}", "rollout engine"),
        ("train", ROLLOUTS, f"objective={NOPE}", "objective"),
        ("train", ROLLOUTS, "objective={type: weighted_sum, terms: {bce: {type: nope}}}", "objective"),
        ("train", ROLLOUTS, f"model.adapters=[{NOPE}]", "adapter"),
        ("train", ROLLOUTS, f"evaluation={{x: {NOPE}}}", "benchmark"),
        ("train", ONLINE, f"experience.judge={NOPE}", "judge"),
        ("train", ONLINE, f"experience.describer={NOPE}", "describer"),
        ("train", ONLINE, f"experience.images={NOPE}", "negative image source"),
        ("train", ONLINE, f"experience.verifiers=[{NOPE}]", "verifier"),
        ("train", ONLINE, f"experience.selection={NOPE}", "selection"),
        ("train", CURRICULUM, f"experience.tasks.simple={NOPE}", "synthetic task"),
        (
            "train",
            SEG,
            "experience.source={type: mixture, sources: [{weight: 1, source: {type: nope}}]}",
            "source",
        ),
        ("eval", "eval/fast", f"benchmarks={{x: {NOPE}}}", "benchmark"),
        (
            "eval",
            "eval/fast",
            "benchmarks={x: {type: conversations, source: {type: nope}, num_questions: 1}}",
            "source",
        ),
        ("eval", "eval/fast", f"model.adapters=[{NOPE}]", "adapter"),
        (
            "sweep",
            "tiny/s2h/sweep",
            "overrides=[evaluation.hard_image.score=nope,evaluation.hard_image_forced=null]",
            "score",
        ),
        ("study", "reproduce/ovip", f"arms.ovip.overrides=['experience.judge={NOPE}']", "judge"),
        ("agent-study", "reproduce/fast", f"stages.switch.overrides=['experience.source={NOPE}']", "source"),
    ],
)
def test_a_dry_run_finds_a_wrong_name_however_deep_it_stands(command, config, override, kind):
    more = ["model.path=owner/name"] if command == "eval" else []
    result = dry(command, config, *more, override)
    assert result.exit_code == 2
    assert f"There is no {kind} named `nope`" in result.output


@pytest.mark.parametrize("override", ["experience.num_rollout=3", "experience.source.task.level_=3"])
def test_a_dry_run_finds_an_option_that_nothing_takes(override):
    result = dry("train", ROLLOUTS, override)
    assert result.exit_code == 2 and "takes no `" in result.output


MISFITS = [
    (["model.adapters=[{type: seg, token: '[AREA]'}]"], r"no adapter that waits for a token.*\[AREA\]"),
    (["model=lisa-7b-v1"], r"no adapter that waits for a token.*\[SEG\]"),
    (["deepspeed=zero3", "evaluate_every=3"], "`evaluate_every` must be 0 under ZeRO-3, but is 3"),
    (["objective={type: next_token}"], "must learn from rewards"),
]


@pytest.mark.parametrize(("overrides", "sentence"), MISFITS)
def test_what_cannot_go_together_is_refused_before_anything_is_built_and_in_a_dry_run(
    overrides, sentence, tmp_path, monkeypatch
):
    for place, name in ((training, "model_of"), (training, "make_engine"), (training, "join_processes")):
        monkeypatch.setattr(place, name, lambda *args, **options: pytest.fail("something was built"))
    config = load_config(ROLLOUTS, [*overrides, f"output_dir={tmp_path}/run"])
    with pytest.raises(ConfigError, match=sentence):
        train_run(config)
    assert not (tmp_path / "run").exists()
    assert dry("train", ROLLOUTS, *overrides).exit_code == 2


def test_how_many_updates_a_batch_serves_is_left_open_until_the_ranks_are_known():
    behaviour = "objective={type: grpo_verl, behaviour: current}"
    assert dry("train", ROLLOUTS, behaviour, "experience.num_prompts=64").exit_code == 0


def test_an_evaluation_with_a_wrong_name_loads_no_model(monkeypatch, tmp_path):
    from vlmzoo.config import EvalConfig
    from vlmzoo.runs import evaluate

    monkeypatch.setattr(evaluate, "model_of", lambda *args, **options: pytest.fail("a model was loaded"))
    overrides = ["model.path=owner/name", f"benchmarks={{x: {NOPE}}}", f"output_dir={tmp_path}/run"]
    with pytest.raises(RegistryError, match="no benchmark named `nope`"):
        evaluate.evaluate_run(load_config("eval/fast", overrides, schema=EvalConfig))


@pytest.mark.parametrize(
    ("command", "config", "override"),
    [
        ("study", "reproduce/ovip", f"arms.ovip.overrides=['experience.judge={NOPE}']"),
        ("agent-study", "reproduce/fast", f"stages.switch.overrides=['experience.source={NOPE}']"),
    ],
)
def test_a_wrong_name_of_a_later_arm_is_found_before_the_first_runs(command, config, override, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [command, config, override, f"output_dir={tmp_path}/study"])
    assert result.exit_code == 2 and "named `nope`" in result.output
    assert not (tmp_path / "study").exists()
