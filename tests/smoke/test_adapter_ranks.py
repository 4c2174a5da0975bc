"""Adapters on several ranks: a rank without any target makes nobody wait, and losses are those of one process."""

import json
import os
import subprocess

import pytest


def series(repository, adapter, out, num_ranks, port):
    done = subprocess.run(
        [
            "torchrun",
            "--nproc-per-node",
            str(num_ranks),
            "--master-port",
            str(port),
            "-m",
            "tests.smoke.adapter_ranks",
            adapter,
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
@pytest.mark.parametrize(("adapter", "port"), [("seg", 29581), ("search", 29585), ("switch", 29589)])
def test_two_ranks_of_which_one_has_no_target_learn_as_one_process_does(repository, tmp_path, adapter, port):
    [expected] = series(repository, adapter, str(tmp_path / "one.json"), 1, port).values()
    assert all(part > 0 for _, part in expected)
    for name, losses in series(repository, adapter, str(tmp_path / "two.json"), 2, port + 2).items():
        for found, wanted in zip(losses, expected, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5), name
