"""Every file under configs/ is a config, opens with the command that runs it, and trains at tiny size."""

from pathlib import Path

import pytest

from tests.configs.miniatures import in_small
from vlmzoo.config import AuditConfig, EvalConfig, list_configs, load_config
from vlmzoo.runs import train_run
from vlmzoo.runs.journal import read_journal

FOLDER = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(FOLDER.rglob("*.yaml"))
SCHEMAS = {"eval": EvalConfig, "audit": AuditConfig}
SHRINKABLE = ("eagle", "fast", "tiny")  # what a card's miniature and the registries' smallest examples can stand for
RUNS = [path for path in FILES if path.relative_to(FOLDER).parts[0] in SHRINKABLE]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_config_is_valid(path):
    schema = SCHEMAS.get(path.relative_to(FOLDER).parts[0])
    if schema is not None:
        load_config(path, ["model=owner/name"], schema=schema)  # which model is for the caller to say
    else:
        load_config(path)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_run_builds_and_takes_two_steps_at_tiny_size(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = in_small(load_config(path), output_dir=str(tmp_path / "run"))
    folder = train_run(config).folder
    losses = [line["loss"] for line in read_journal(folder.journal)]
    assert len(losses) == 2
    assert all(0 < loss < 20 for loss in losses)


@pytest.mark.slow
def test_the_steps_of_eagle_follow_one_another_at_tiny_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("prealign_clip", "prealign_convnext", "stage1", "stage2"):
        folder = train_run(load_config(f"tiny/eagle/{name}", ["num_steps=4", "report_to=[]"])).folder
        assert len(read_journal(folder.journal)) == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_config_opens_with_what_it_is(path):
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_every_config_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # not from the checkout: through the package
    assert {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FILES} <= set(list_configs())
