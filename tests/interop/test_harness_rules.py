"""Our rules against the harnesses' own functions, on answers of every shape; run by ``make test-slow``."""

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from vlmzoo.scoring import harness_rules as rules

REPOSITORY = Path(__file__).parents[2]
OPTIONS = {"A": "a red bus", "B": "a dog", "C": "two cats", "D": "nothing at all"}
PIECES = (
    "Yes", "no", "NO.", "not", "yes,", "A", "(B)", "B.", "c", "D:", "C)", "the answer is", "My choice is", "a dog",
    "Two cats!", "1,000", "3.5", "7.", "ten", "it's", "dont", "t-shirt", "the", "Z", "\n", ".", "?", "\"", "正确答案是",
)  # fmt: skip
_MANY = [" ".join(piece) for number in (2, 3) for piece in itertools.permutations(PIECES, number)]
SAID = ["", *PIECES, *_MANY[::11]]
PEOPLE = ["1000"] * 3 + ["3.5"] * 2 + ["it's"] * 2 + ["t-shirt", "7.", "10"]
CASES = {
    "pope": (rules.lmms_pope, rules.kit_yes_no, "yes"),
    "mmstar": (rules.lmms_choice, rules.kit_choice, "B"),
    "textvqa": (rules.lmms_textvqa, rules.kit_textvqa, PEOPLE),
    "gqa": (rules.lmms_gqa, rules.kit_gqa, "t-shirt"),
}


def scores_by(environment, folder):
    """Let a harness score all answers in its own environment."""
    python = REPOSITORY / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs the interop environment: make {environment}/.installed")
    cases = {task: {"said": SAID, "reference": reference} for task, (_, _, reference) in CASES.items()}
    (folder / "cases.json").write_text(json.dumps({"tasks": cases, "options": OPTIONS}))
    script = Path(__file__).with_name("harness_scores.py")
    done = subprocess.run(
        [str(python), str(script), environment, str(folder / "cases.json"), str(folder / "scores.json")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "scores.json").read_text())


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("environment", "place"), [(".venv-lmms", 0), (".venv-vlmeval", 1)])
def test_every_answer_gets_the_score_that_the_harness_gives(environment, place, tmp_path):
    found = scores_by(environment, tmp_path)
    for task, case in CASES.items():
        ours = [case[place](said, case[2], OPTIONS).score for said in SAID]
        wrong = [(said, a, b) for said, a, b in zip(SAID, ours, found[task], strict=True) if a != pytest.approx(b)]
        assert not wrong, (task, len(wrong), wrong[:5])
        assert 0 < sum(ours) < len(ours)
