"""Every task that a suite names exists in the installed lmms-eval; run by ``make test-slow``."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from vlmzoo.config import EvalConfig, load_config

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-lmms" / "bin" / "python"
SUITES = sorted(
    path for path in (REPOSITORY / "configs" / "eval").glob("*.yaml")
    if load_config(path, schema=EvalConfig).lmms_eval is not None
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-lmms/.installed"),
]


@pytest.fixture(scope="module")
def known():
    code = (
        "import json; from vlmzoo.integrations.lmms_tasks import known_tasks; "
        "print(json.dumps(known_tasks(include_path='eval/lmms_eval')))"
    )
    done = subprocess.run(
        [str(PYTHON), "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return set(json.loads(done.stdout.strip().splitlines()[-1]))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_names_tasks_that_are_there(path, known):
    suite = load_config(path, schema=EvalConfig).lmms_eval
    assert not [task for task in suite.tasks if task not in known]


def test_the_systems_have_suites():
    assert {"llava", "mia_dpo", "ovip", "twin"} <= {path.stem for path in SUITES}
