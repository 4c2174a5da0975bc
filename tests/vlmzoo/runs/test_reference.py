"""A run with log-probabilities that were written beforehand is the run with a frozen copy, number for number."""

import pytest

from vlmzoo.config import load_config
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.experience.reference_table import ReferenceTable
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


def test_a_corrupt_pair_is_passed_over_and_too_many_are_not(tmp_path, monkeypatch):
    config = load(tmp_path / "x", "experience.corrupt_limit=0.01")
    build, torn = SOURCES.build, {1}

    class Torn:
        def __init__(self, source):
            self.source, self.size = source, source.size

        def sample(self, position):
            if position in torn:
                raise DataError(f"pair {position} is torn")
            return self.source.sample(position)

    monkeypatch.setattr(SOURCES, "build", lambda spec, **given: Torn(build(spec, **given)))
    told = []
    path = write_reference(config, tmp_path / "reference.safetensors", report=lambda done, of: told.append((done, of)))
    table = ReferenceTable.read(path, strategy=config.experience.get("strategy", "dpo"), mode="single")
    assert len(table.sums) == 3 and told[-1] == (4, 4)
    torn |= {2, 3}
    with pytest.raises(DataError, match="2 of 3 pairs are corrupt, more than `corrupt_limit`"):
        write_reference(config, tmp_path / "reference.safetensors")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("objective.strategy=orm", "must be the same"),
        ("objective.mode=same_batch", "must be one of"),
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
