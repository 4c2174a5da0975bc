"""The loss does not depend on how a batch is cut, over how many ranks, or how ZeRO splits the state."""

import json
import os
import subprocess

import pytest


def series(repository, out, num_ranks, port, module="splits"):
    done = subprocess.run(
        [
            "torchrun",
            "--nproc-per-node",
            str(num_ranks),
            "--master-port",
            str(port),
            "-m",
            f"tests.smoke.{module}",
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
def test_one_global_batch_gives_one_loss_series_however_it_is_cut(repository, tmp_path):
    found = {
        (num_ranks, cut): losses
        for num_ranks, port in ((1, 29571), (2, 29573))
        for cut, losses in series(repository, str(tmp_path / f"{num_ranks}.json"), num_ranks, port).items()
    }
    assert len(found) == 4 * 3 + 4 * 2 + 2 * 5
    expected = found[(1, "zero0/1")]
    assert expected[-1] < expected[0]
    for name, losses in found.items():
        assert losses == pytest.approx(expected, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_batch_of_rollouts_gives_one_series_however_it_is_cut(repository, tmp_path):
    """Rewards, loss, divergence and the gradient's norm: groups lie on two ranks, and ZeRO splits the weights."""
    found = {
        (num_ranks, cut): lines
        for num_ranks, port in ((1, 29575), (2, 29577))
        for cut, lines in series(
            repository, str(tmp_path / f"{num_ranks}.json"), num_ranks, port, module="rollout_splits"
        ).items()
    }
    assert len(found) == 2 * 6
    expected = found[(1, "zero0/2")]
    assert len({line["reward"] for line in expected}) > 1
    assert expected[-1]["kl_nats"] > 0
    for name, lines in found.items():
        for line, right in zip(lines, expected, strict=True):
            assert line == pytest.approx(right, abs=1e-5, rel=1e-4), name
