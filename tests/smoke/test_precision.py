"""Training in 16 bits goes the way of training in 32, wherever the state lies."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sixteen_bits_learn_what_thirty_two_learn(repository, tmp_path):
    out = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.smoke.precision", str(out)],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(out.read_text())
    expected = found.pop("zero0, float32")
    assert len(found) == 9
    for name, losses in found.items():
        assert losses != expected, name  # it is another precision
        assert losses == pytest.approx(expected, abs=1e-2), name
