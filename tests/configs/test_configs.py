"""Every file under configs/ is a config, and opens with the command that runs it."""

from pathlib import Path

import pytest

from vlmzoo.config import EvalConfig, list_configs, load_config

FOLDER = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_config_is_valid(path):
    if path.is_relative_to(FOLDER / "eval"):
        load_config(path, ["model=owner/name"], schema=EvalConfig)  # which model is for the caller to say
    else:
        load_config(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_config_opens_with_what_it_is(path):
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_every_config_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # not from the checkout: through the package
    assert {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FILES} <= set(list_configs())
