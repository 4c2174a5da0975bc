"""Masks on several ranks: a rank without any makes nobody wait, and the losses are those of one process."""

import json
import os
import subprocess

import pytest


def series(repository, out, num_ranks, port):
    done = subprocess.run(
        [
            "torchrun",
            "--nproc-per-node",
            str(num_ranks),
            "--master-port",
            str(port),
            "-m",
            "tests.smoke.seg_ranks",
            out,
        ],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    with open(out, encoding="utf-8") as file:  # noqa: PTH123
        return json.load(file)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_ranks_of_which_one_has_no_mask_learn_as_one_process_does(repository, tmp_path):
    [expected] = series(repository, str(tmp_path / "one.json"), 1, 29581).values()
    assert all(bce > 0 for _, bce in expected)
    for name, losses in series(repository, str(tmp_path / "two.json"), 2, 29583).items():
        for found, wanted in zip(losses, expected, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5), name
