"""How a benchmark measures: fresh processes, peaks of memory, arms that take turns."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from vlmzoo.errors import VlmzooError

__all__ = ["Arm", "Turns", "in_fresh_process", "one_thread", "peak_allocated_mb", "reset_peak_rss"]

MB = 1e6


def one_thread() -> dict[str, str]:
    """Return the environment of a process that computes on one core."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1"), "TOKENIZERS_PARALLELISM": "false", "DS_ACCELERATOR": "cpu"}


def in_fresh_process(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script in an interpreter of its own, on one thread, and return the JSON of its last line."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, env=one_thread(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise VlmzooError(f"`{' '.join(command)}` failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def peak_allocated_mb(run: Callable[[], Any]) -> float:
    """Return the most tensor memory that stood at any moment of ``run`` beyond what stood before, in MB of 10^6 bytes.

    torch's profiler notes every allocation on the CPU; their running sum has a maximum.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events: Any = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    now = most = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        now += change
        most = max(most, now)
    return most / MB


def reset_peak_rss() -> None:
    """Let the peak of resident memory begin anew, where Linux allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # the peak since the start of the process holds, too, if nothing before was larger


class Arm:
    """A process that takes a step when it is told to.

    Args:
        name: of the arm.
        command: its script calls :meth:`Turns.take` after every step.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = subprocess.Popen(
            [*command],
            env={**one_thread(), "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )
        self.warm_up = self._hear()

    def step(self) -> dict[str, Any]:
        """Let it take one step, and return what it tells."""
        self._say("go")
        return self._hear()

    def finish(self) -> dict[str, Any]:
        """Let it end, and return its last words."""
        self._say("stop")
        last = self._hear()
        self._process.wait()
        return last

    def kill(self) -> None:
        """End it at once, if it still runs."""
        self._process.kill()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise VlmzooError(f"`{self.name}` ended early:\n{self.log.read_text()[-3000:]}")
        return json.loads(line)


class Turns:
    """The other end of an :class:`Arm`: answers on what was the standard output, which libraries no longer reach."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self.is_over = False

    def take(self, **told: Any) -> None:
        """Tell of the step that was taken, and wait for the word to take the next; ``is_over`` if there is none."""
        self.tell(**told)
        self.is_over = sys.stdin.readline().strip() != "go"

    def tell(self, **told: Any) -> None:
        """Send one line."""
        self._out.write(json.dumps(told) + "\n")
        self._out.flush()
