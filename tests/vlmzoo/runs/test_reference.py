"""A run with log-probabilities that were written beforehand is the run with a frozen copy, number for number."""

import pytest

from vlmzoo.config import load_config
from vlmzoo.errors import ConfigError
from vlmzoo.runs import train_run
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.reference import write_reference

SMALL = ["num_steps=2", "accumulation_steps=1", "evaluation=null", "report_to=[]", "experience.source.num_rows=4"]


def load(folder, *overrides):
    return load_config("tiny/preference", [*SMALL, f"output_dir={folder}", *overrides])


def test_a_file_stands_for_the_reference_it_was_made_of(tmp_path):
    path = write_reference(load(tmp_path / "x"), tmp_path / "reference.safetensors")
    known = load(tmp_path / "known", "experience.reference=precomputed", f"experience.reference_file={path}")
    losses = []
    for config in (load(tmp_path / "asked"), known):
        losses.append([line["loss"] for line in read_journal(train_run(config).folder.journal)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("objective.strategy=orm", "must be the same"),
        ("objective.mode=same_batch", "must be the same"),
        ("experience.reference=none", "reference_free"),
    ],
)
def test_rows_that_the_objective_does_not_ask_for_are_refused_before_anything_is_built(tmp_path, override, says):
    with pytest.raises(ConfigError, match=says):
        train_run(load(tmp_path, override))


def test_a_source_without_an_end_and_another_experience_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="have an end"):
        write_reference(load(tmp_path, "experience.source.num_rows=null"), tmp_path / "file")
    with pytest.raises(ConfigError, match="of type pairs"):
        write_reference(load_config("tiny/quickstart"), tmp_path / "file")
