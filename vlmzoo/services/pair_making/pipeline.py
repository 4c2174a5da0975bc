"""The stages as threads with bounded queues between them, so that services work while the policy trains."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from PIL import Image

from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.services.pair_making.items import AskedPrompt, Outcome
from vlmzoo.services.pair_making.maker import Draft, PairMaker

__all__ = ["Pipeline"]

_POLL_S = 0.1


class Pipeline:
    """Takes prompts in, gives outcomes back, in any order; a stage that breaks is told to who asks next.

    Args:
        maker: its stages are run.
        queue_size: prompts that may wait before each stage.
        num_workers: threads of each stage.

    Raises:
        ConfigError: if a number is not positive.
    """

    def __init__(self, maker: PairMaker, *, queue_size: int = 64, num_workers: int = 1) -> None:
        if queue_size < 1 or num_workers < 1:
            raise ConfigError(f"`queue_size` and `num_workers` must be positive, but are {queue_size}, {num_workers}.")
        self.maker = maker
        self._is_closed = threading.Event()
        self._done = threading.Condition()
        self._outcomes: dict[int, Outcome] = {}
        self._error: Exception | None = None
        self.num_inside = 0
        stages = list(maker.stages.values())
        self._queues: list[queue.Queue[Draft]] = [queue.Queue(queue_size) for _ in stages]
        self._threads = [
            threading.Thread(target=self._work, args=(number, stage), daemon=True)
            for number, stage in enumerate(stages)
            for _ in range(num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, asked: AskedPrompt, positive: Image.Image | None, *, timeout_s: float = 60.0) -> bool:
        """Hand a prompt in; False if there is no room for it in time.

        Raises:
            ServiceError: if a stage broke.
        """
        self._raise()
        with self._done:
            self.num_inside += 1
        if self._put(0, Draft(asked=asked, positive=positive), time.monotonic() + timeout_s):
            return True
        with self._done:
            self.num_inside -= 1
        return False

    def wait_for(self, places: Iterable[int], *, timeout_s: float) -> list[Outcome]:
        """Return the outcomes of prompts, in the order of the places; all that are there in time.

        Raises:
            ServiceError: if a stage broke.
        """
        wanted = list(places)
        deadline = time.monotonic() + timeout_s
        with self._done:
            while self._error is None and any(place not in self._outcomes for place in wanted):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._done.wait(min(left, _POLL_S))
            self._raise()
            return [self._outcomes.pop(place) for place in wanted if place in self._outcomes]

    def ready(self, *, timeout_s: float = 0.0) -> list[Outcome]:
        """Return all outcomes that are there, waiting so long for the first, in the order of their places.

        Raises:
            ServiceError: if a stage broke.
        """
        deadline = time.monotonic() + timeout_s
        with self._done:
            while self._error is None and not self._outcomes and self.num_inside:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._done.wait(min(left, _POLL_S))
            self._raise()
            found = [self._outcomes[place] for place in sorted(self._outcomes)]
            self._outcomes.clear()
            return found

    def close(self) -> None:
        """Let the threads end; what is inside is let go of."""
        self._is_closed.set()

    def _work(self, number: int, stage: Callable[[Draft], None]) -> None:
        while not self._is_closed.is_set():
            try:
                draft = self._queues[number].get(timeout=_POLL_S)
            except queue.Empty:
                continue
            try:
                stage(draft)
            except Exception as error:  # carried to the thread that trains
                self._break(error)
                return
            if number + 1 == len(self._queues):
                self._finish(draft)
            else:
                self._put(number + 1, draft, None)

    def _put(self, number: int, draft: Draft, deadline: float | None) -> bool:
        """Put a draft into a queue; wait for room until the deadline, or until the pipeline is closed or broken."""
        while not self._is_closed.is_set() and self._error is None:
            try:
                self._queues[number].put(draft, timeout=_POLL_S)
                return True
            except queue.Full:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
        return False

    def _finish(self, draft: Draft) -> None:
        with self._done:
            self._outcomes[draft.asked.place] = draft.outcome()
            self.num_inside -= 1
            self._done.notify_all()

    def _break(self, error: Exception) -> None:
        with self._done:
            self._error = error
            self._done.notify_all()

    def _raise(self) -> None:
        error: Any = self._error
        if error is None:
            return
        if isinstance(error, ServiceError):
            raise error
        raise ServiceError(
            f"The making of pairs broke: {error!r}; the same run goes on from its last checkpoint."
        ) from error
