"""Two nodes rehearsed on one machine: two launchers meet at a port, and train as one process would."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile

import pytest
import yaml

from vlmzoo.config import load_config
from vlmzoo.data.sources import SOURCES
from vlmzoo.runs.journal import read_journal

NUM_STEPS = 4
ROWS_PER_STEP = 4

pytestmark = pytest.mark.slow


def write_config(folder, **changes):
    """Write the quickstart at the smallest size: texts and pictures in turn, no evaluation."""
    source = {"experience.source.kinds": "{text: 1, image: 1}", "experience.source.later": "[]"}
    small = {"num_steps": NUM_STEPS, "samples_every": 0, "micro_batch_size": 1, "output_dir": folder / "run"}
    overrides = [f"{path}={value}" for path, value in {**source, **small, **changes}.items()]
    config = load_config("tiny/quickstart", overrides).model_dump(mode="json")
    path = folder / "config.yaml"
    folder.mkdir()
    path.write_text(yaml.safe_dump({**config, "evaluation": {}}))
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train(repository, *commands):
    """Run commands side by side to their end, and stop them all if one fails or hangs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "DEEPSPEED_TIMEOUT": "2"}
    with contextlib.ExitStack() as stack:  # files, as a pipe that nobody reads meanwhile would stop the other node
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in commands]
        running = [
            subprocess.Popen(
                command,
                cwd=repository,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for command, file in zip(commands, files, strict=True)
        ]
        try:
            for process in running:
                process.wait(timeout=300)
        finally:
            for process in running:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        for file in files:
            file.seek(0)
        outputs = [file.read() for file in files]
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(
        output[-4000:] for output in outputs
    )


def node(config, port):
    """Return what is typed on each of two nodes."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "rehearsal"),
        *("--local-addr", "127.0.0.1", "training/train.py", str(config)),
    ]


@pytest.fixture(scope="module")
def losses_of_one_process(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "one"
    config = write_config(folder, accumulation_steps=ROWS_PER_STEP, deepspeed="zero0")
    train(repository, [sys.executable, "training/train.py", str(config)])
    return [line["loss"] for line in read_journal(folder / "run" / "journal.jsonl")]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_nodes_train_as_one_process_does(repository, tmp_path, losses_of_one_process, stage):
    config = write_config(tmp_path / "two", accumulation_steps=ROWS_PER_STEP // 2, deepspeed=f"zero{stage}")
    port = free_port()
    train(repository, node(config, port), node(config, port))
    run = tmp_path / "two" / "run"
    lines = (run / "journal.jsonl").read_text().splitlines()
    assert len(lines) == NUM_STEPS  # one node speaks
    losses = [line["loss"] for line in read_journal(run / "journal.jsonl")]
    assert losses == pytest.approx(losses_of_one_process, abs=1e-5, rel=0)
    assert losses[-1] < losses[0]
    assert (run / "final" / "model.safetensors").is_file()


def test_the_rehearsal_holds_steps_in_which_only_one_node_sees_pictures(tmp_path):
    """Otherwise it would not show that ranks may differ in what they run."""
    config = load_config(str(write_config(tmp_path / "one")))
    source = SOURCES.build(config.experience["source"])
    has_picture = [bool(source.sample(position).images) for position in range(NUM_STEPS * ROWS_PER_STEP)]
    steps = [has_picture[start : start + ROWS_PER_STEP] for start in range(0, len(has_picture), ROWS_PER_STEP)]
    assert any(any(step[0::2]) != any(step[1::2]) for step in steps)
