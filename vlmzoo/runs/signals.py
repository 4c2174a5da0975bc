"""A cluster's request to stop: noted at once, obeyed after the step, by all ranks together."""

import signal
from types import FrameType, TracebackType
from typing import Any

from vlmzoo.distributed import sum_over_ranks

__all__ = ["StopRequest"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class StopRequest:
    """While it is open, SIGTERM and SIGUSR1 ask the run to stop instead of ending the process."""

    def __init__(self) -> None:
        self._is_asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        """Take the signals."""
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_asked(self) -> bool:
        """Say whether any rank was asked to stop; all ranks must call."""
        return sum_over_ranks({"asked": float(self._is_asked)})["asked"] > 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
