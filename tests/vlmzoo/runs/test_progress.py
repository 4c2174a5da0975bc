import io

import pytest
from rich.console import Console

from vlmzoo.runs.progress import RunProgress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def show(num_steps, *, seconds_each, is_terminal=False, **options):
    """Return what a run of ``num_steps`` steps shows."""
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=is_terminal, width=120)
    with RunProgress("step", num_steps, console=console, clock=clock, **options) as progress:
        for step in range(options.get("done", 0) + 1, num_steps + 1):
            clock.now += seconds_each
            progress.update(step, {"step": step, "loss": 1 / step, "lr": 1e-3, "tokens_per_s": 1234.5, "seconds": 1})
    return stream.getvalue()


def test_away_from_a_terminal_a_line_comes_every_so_many_seconds_and_at_the_end():
    lines = show(10, seconds_each=4.0, every_s=10.0).splitlines()
    assert [line.split()[1] for line in lines] == ["1/10", "4/10", "7/10", "10/10"]


def test_a_line_says_step_loss_rate_speed_and_what_remains():
    first = show(10, seconds_each=60.0).splitlines()[0]
    assert first == "step 1/10  loss 1.0000  lr 1.00e-03  1,234 tokens/s  ETA 0:09:00"


def test_after_a_restart_the_remaining_time_counts_the_new_steps_alone():
    first = show(10, seconds_each=60.0, done=5).splitlines()[0]
    assert first.startswith("step 6/10")
    assert first.endswith("ETA 0:04:00")


def test_on_a_terminal_there_is_a_bar():
    text = show(3, seconds_each=1.0, is_terminal=True)
    assert "3/3" in text
    assert "loss 0.3333" in text
    assert "━" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_other_ranks_say_nothing(monkeypatch, is_terminal):
    monkeypatch.setattr("vlmzoo.distributed.dist.is_initialized", lambda: False)  # whatever ran before in this process
    monkeypatch.setenv("RANK", "1")
    assert show(3, seconds_each=1.0, is_terminal=is_terminal) == ""
