"""How far a run is: a bar on a terminal, a plain line every so often elsewhere, nothing on ranks other than 0."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vlmzoo.distributed import is_main

__all__ = ["RunProgress"]


class RunProgress:
    """Shows how far a run is, and the figures of its latest step.

    Args:
        what: what is counted, e.g. ``"step"`` or ``"simple_image"``.
        total: how many of them there will be.
        done: how many there are already, after a restart.
        console: where to show it; standard error if left out.
        every_s: at most one plain line in so many seconds; the first and the last one always come.
        clock: seconds that only grow; tests set their own.
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        done: int = 0,
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._first, self._every_s, self._clock = what, total, done, every_s, clock
        self._console = console or Console(stderr=True)
        self._is_shown = is_main()
        self._started, self._last_line = clock(), -float("inf")
        self._bar = self._make_bar() if self._is_shown and self._console.is_terminal else None
        self._task = self._bar.add_task(what, total=total, completed=done, figures="") if self._bar else None

    def __enter__(self) -> "RunProgress":
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, figures: Mapping[str, Any] | None = None) -> None:
        """Note that ``done`` of them are done.

        Args:
            done: how many, those before a restart included.
            figures: numbers to show; of a journal's line ``loss``, ``lr`` and ``tokens_per_s``.
        """
        if not self._is_shown:
            return
        shown = _figures(figures or {})
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, figures=shown)
            return
        now = self._clock()
        if now - self._last_line >= self._every_s or done >= self._total:
            self._last_line = now
            parts = [f"{self._what} {done}/{self._total}", shown, self._remaining(done, now)]
            self._say("  ".join(part for part in parts if part))

    def _remaining(self, done: int, now: float) -> str:
        if not self._first < done < self._total:
            return ""
        seconds = (now - self._started) / (done - self._first) * (self._total - done)
        return f"ETA {timedelta(seconds=round(seconds))}"

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _make_bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )


def _figures(figures: Mapping[str, Any]) -> str:
    """Return the figures that fit a line, rounded for reading."""
    formats = {"loss": "loss {:.4f}", "lr": "lr {:.2e}", "tokens_per_s": "{:,.0f} tokens/s"}
    return "  ".join(form.format(float(figures[name])) for name, form in formats.items() if name in figures)
