"""Calls that may fail: repeated after pauses with jitter, in bounds, and not at all while a service is down."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.registry import nearest_hint

__all__ = ["CallPolicy", "Caller", "TransientError", "plain_url"]

T = TypeVar("T")


class TransientError(ServiceError):
    """A call failed in a way that may pass: no connection, too slow, too many requests, half an answer."""


def plain_url(base_url: str) -> str:
    """Return an address without a slash at its end.

    Raises:
        ConfigError: if it holds a name or a password, which would stand in every config, log and report.
    """
    parts = urlsplit(base_url)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"`base_url` must hold no name and no password, but the one of {parts.hostname} does; put a key into an "
            "environment variable and name that."
        )
    return base_url.rstrip("/")


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """How often and how long a call is tried.

    Args:
        timeout_s: of one try.
        retries: further tries of one call.
        pause_s: before the first of them; each pause is drawn from zero to twice the one before.
        max_pause_s: the longest pause.
        breaker_after: calls in a row that fail before the service counts as down; 0 for never.
        breaker_rest_s: how long nothing is sent then; after it, one call tries.

    Raises:
        ConfigError: if a number makes no sense.
    """

    timeout_s: float = 60.0
    retries: int = 2
    pause_s: float = 0.5
    max_pause_s: float = 8.0
    breaker_after: int = 5
    breaker_rest_s: float = 15.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.timeout_s <= 0:
            raise ConfigError(f"`timeout_s` of calls must be positive, but is {self.timeout_s} instead.")
        for name in ("retries", "pause_s", "max_pause_s", "breaker_after", "breaker_rest_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` of calls must be zero or more, but is {getattr(self, name)} instead.")

    @classmethod
    def parse(cls, spec: "Mapping[str, Any] | CallPolicy | None") -> "CallPolicy":
        """Read ``{timeout_s, retries, …}`` as a configuration writes it.

        Raises:
            ConfigError: if a key is unknown, or a number makes no sense.
        """
        if isinstance(spec, CallPolicy):
            return spec
        known = [field.name for field in fields(cls)]
        for name in spec or {}:
            if name not in known:
                raise ConfigError(f"`calls` takes no `{name}`.{nearest_hint(name, known)} Known: {', '.join(known)}.")
        return cls(**dict(spec or {}))


class Caller:
    """Makes calls to one service, from any thread.

    Args:
        name: of the service, for messages.
        policy: how often it is tried.
        sleep: pauses; replaced in tests.
    """

    def __init__(self, name: str, policy: CallPolicy, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.name, self.policy = name, policy
        self._sleep = sleep
        self._lock = threading.Lock()
        self._failures = 0
        self._down_until = 0.0
        self._last: Exception | None = None
        self.num_calls = self.num_retries = self.num_failures = 0

    @property
    def is_down(self) -> bool:
        """Whether nothing is sent at present."""
        return time.monotonic() < self._down_until

    def __call__(self, call: Callable[[], T]) -> T:
        """Make a call, again if need be.

        Args:
            call: raises ``TransientError`` for what may pass, and another ``ServiceError`` for what does not.

        Raises:
            ServiceError: if it fails however often it is tried, or the service is down.
        """
        self._admit()
        for attempt in range(self.policy.retries + 1):
            try:
                found = call()
            except TransientError as error:
                self._last = error
                if attempt < self.policy.retries:
                    self.num_retries += 1
                    longest = min(self.policy.max_pause_s, self.policy.pause_s * 2**attempt)
                    self._sleep(random.uniform(0.0, 2.0 * longest))
                    continue
                self._note(failed=True)
                raise ServiceError(f"`{self.name}` failed {attempt + 1} times; the last time: {error}") from error
            except ServiceError:
                self._note(failed=True)
                raise
            self._note(failed=False)
            return found
        raise AssertionError("the loop returns or raises")

    def _admit(self) -> None:
        with self._lock:
            self.num_calls += 1
            if self.is_down:
                self.num_failures += 1
                raise ServiceError(
                    f"`{self.name}` is down and is left alone for {self.policy.breaker_rest_s} s: {self._last}"
                )

    def _note(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            self.num_failures += failed
            if self.policy.breaker_after and self._failures >= self.policy.breaker_after:
                self._down_until = time.monotonic() + self.policy.breaker_rest_s
            elif not failed:
                self._down_until = 0.0
