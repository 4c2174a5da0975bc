"""An Eagle of which one encoder alone carries the answer is trained in seconds, and the audit names that encoder."""

import json
import runpy
import sys

import pytest

from vlmzoo.config import load_config
from vlmzoo.runs import train_run


@pytest.mark.slow
@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_the_eye_that_is_asked_for_is_named_and_the_other_is_not(side, other, tmp_path, repository, monkeypatch):
    overrides = [
        f"output_dir={tmp_path / 'run'}",
        "num_steps=120",
        "report_to=[]",
        "evaluation.unseen.num_questions=20",
    ]
    folder = train_run(load_config(f"tiny/eagle/two_eyes_{side}", overrides)).folder
    words = [f"model={folder.final}", f"benchmark.source.sides=[{side}]", f"output_dir={tmp_path / 'audit'}"]
    words += ["benchmark.num_questions=60", "kinds=[blank, swap]"]
    monkeypatch.setattr(sys, "argv", ["audit.py", "audit/two_eyes", *words])
    runpy.run_path(str(repository / "eval" / "audit.py"), run_name="__main__")
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert found["baseline"]["mean"] > 0.9
    assert f"{side}_eye" in found["carriers"]
    assert f"{other}_eye" not in found["carriers"]
