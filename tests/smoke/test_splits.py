"""The loss does not depend on how a batch is cut, over how many ranks, or how ZeRO splits the state."""

import json
import os
import subprocess

import pytest


def series(repository, out, num_ranks, port):
    done = subprocess.run(
        ["torchrun", "--nproc-per-node", str(num_ranks), "--master-port", str(port), "-m", "tests.smoke.splits", out],
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
def test_one_global_batch_gives_one_loss_series_however_it_is_cut(repository, tmp_path):
    found = {
        (num_ranks, cut): losses
        for num_ranks, port in ((1, 29571), (2, 29573))
        for cut, losses in series(repository, str(tmp_path / f"{num_ranks}.json"), num_ranks, port).items()
    }
    assert len(found) == 4 * 3 + 4 * 2
    expected = found[(1, "zero0/1")]
    assert expected[-1] < expected[0]
    for name, losses in found.items():
        assert losses == pytest.approx(expected, abs=1e-5), name
