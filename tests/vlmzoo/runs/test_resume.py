"""What a folder that already holds something means for a run."""

import json

import pytest

from vlmzoo.config import dump_resolved
from vlmzoo.config.loading import check_config
from vlmzoo.config.schema import RunConfig
from vlmzoo.errors import ConfigError
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import Journal, keep_steps, read_journal
from vlmzoo.runs.resume import begin


def make_config(folder, **changes):
    values = {
        "output_dir": str(folder),
        "model": {"name": "llava-1.5-7b"},
        "experience": {"type": "supervised"},
        "optim": {"learning_rate": 1e-3},
        "num_steps": 4,
    }
    return check_config(values | changes, schema=RunConfig, origin="test")


def leave(folder, *, steps, checkpoint=None, is_finished=False, **changes):
    """Leave behind what a run leaves that took some steps."""
    run = RunFolder(folder).ensure()
    dump_resolved(make_config(folder, **changes), folder)
    journal = Journal(run.journal)
    for step in range(1, steps + 1):
        journal.write({"step": step, "loss": 1.0})
    journal.close()
    if checkpoint:
        run.checkpoint(checkpoint).mkdir(parents=True)
        (run.checkpoint(checkpoint) / "run.json").write_text("{}")
    if is_finished:
        run.final.mkdir()
        (run.final / "config.json").write_text("{}")
    return run


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_an_empty_folder_is_a_new_run(folder):
    assert begin(make_config(folder), RunFolder(folder).ensure()).state == "new"


def test_a_checkpoint_of_the_same_configuration_is_gone_on_from(folder):
    run = leave(folder, steps=3, checkpoint=2)
    beginning = begin(make_config(folder), run)
    assert beginning.state == "resumed" and beginning.checkpoint == run.checkpoint(2)


def test_a_run_without_a_checkpoint_begins_anew(folder):
    run = leave(folder, steps=3)
    assert begin(make_config(folder), run).state == "new"
    assert not run.journal.exists()


def test_a_checkpoint_that_only_holds_a_model_is_neither_gone_on_from_nor_thrown_away(folder):
    run = leave(folder, steps=3)
    run.checkpoint(2).mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds a model that a run cannot go on from"):
        begin(make_config(folder), run)
    assert begin(make_config(folder, overwrite=True), run).state == "new"


def test_folders_that_no_run_wrote_are_not_thrown_away(folder):
    (folder / "final").mkdir(parents=True)
    (folder / "final" / "model.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match="exists, but no run wrote down what it is"):
        begin(make_config(folder), RunFolder(folder))
    assert (folder / "final" / "model.safetensors").read_text() == "mine"


def test_a_finished_run_is_finished(folder):
    run = leave(folder, steps=4, checkpoint=2, is_finished=True)
    assert begin(make_config(folder), run).state == "finished"
    assert len(read_journal(run.journal)) == 4


@pytest.mark.parametrize("change", [{"title": "x"}, {"samples_every": 3}, {"checkpoints": {"every": 1}}])
def test_what_does_not_reach_the_weights_may_change(folder, change):
    run = leave(folder, steps=3, checkpoint=2)
    assert begin(make_config(folder, **change), run).state == "resumed"


def test_another_configuration_is_refused_and_the_differences_are_named(folder):
    run = leave(folder, steps=3, checkpoint=2)
    with pytest.raises(ConfigError, match=r"`optim.learning_rate`: 0.001 → 0.1; `num_steps`: 4 → 8"):
        begin(make_config(folder, optim={"learning_rate": 0.1}, num_steps=8), run)
    assert run.checkpoint(2).is_dir()


def test_overwrite_begins_anew(folder):
    run = leave(folder, steps=3, checkpoint=2)
    assert begin(make_config(folder, num_steps=8, overwrite=True), run).state == "new"
    assert not run.checkpoints.exists()


def test_a_finished_run_of_another_configuration_is_moved_aside(folder, caplog):
    for number, seed in enumerate((1, 2), start=1):
        run = leave(folder, steps=4, is_finished=True, seed=seed - 1)
        assert begin(make_config(folder, seed=seed), run).state == "new"
        moved = folder.with_name(f"run.{number}")
        assert json.loads((moved / "config.resolved.json").read_text())["config"]["seed"] == seed - 1
        assert str(moved) in caplog.text
    assert list(folder.iterdir()) == []


def test_lines_after_the_checkpoint_are_dropped(folder):
    run = leave(folder, steps=4)
    keep_steps(run.journal, 2)
    assert [line["step"] for line in read_journal(run.journal)] == [1, 2]
    keep_steps(run.journal, 0)
    assert not run.journal.exists()
    keep_steps(run.journal, 0)
