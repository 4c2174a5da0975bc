import os

import pytest

from vlmzoo.errors import ConfigError
from vlmzoo.runs.folder import RunFolder


def test_naming_the_paths_makes_nothing(tmp_path):
    folder = RunFolder(tmp_path / "run")
    paths = [folder.config, folder.journal, folder.events, folder.samples, folder.checkpoints, folder.final]
    paths += [folder.report, folder.report_json, folder.curves, folder.evaluation, folder.checkpoint(3)]
    assert len(set(paths)) == len(paths)
    assert not folder.root.exists()


def test_the_names_are_those_that_the_documentation_promises(tmp_path):
    folder = RunFolder(tmp_path)
    names = [path.name for path in (folder.config, folder.journal, folder.samples, folder.report, folder.checkpoint(5))]
    assert names == ["config.resolved.json", "journal.jsonl", "samples.jsonl", "report.html", "step-5"]


def test_a_folder_is_made_with_its_parents(tmp_path):
    assert RunFolder(str(tmp_path / "a" / "b")).ensure().root.is_dir()


def test_a_file_in_the_place_of_the_folder_is_an_error_that_says_what_to_change(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match=r"`output_dir` must be a folder .* cannot be made .* `output_dir=PATH`"):
        RunFolder(tmp_path / "run").ensure()


def test_a_folder_that_takes_no_files_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="cannot be written to instead"):
        RunFolder(tmp_path).ensure()


def test_checkpoints_are_found_the_latest_first_and_unfinished_ones_are_not(tmp_path):
    folder = RunFolder(tmp_path)
    assert list(folder.finished_checkpoints()) == []
    for name in ("step-2", "step-10", "step-12.tmp", "other"):
        (folder.checkpoints / name).mkdir(parents=True)
    assert list(folder.finished_checkpoints()) == [(10, folder.checkpoint(10)), (2, folder.checkpoint(2))]
