"""Trackers: where the numbers of a run are shown beside its journal, and what a failing one may not do."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import ConfigError, DataError, MissingExtraError
from vlmzoo.integrations.tensorboard import TensorboardTracker
from vlmzoo.integrations.trackio import TrackioTracker
from vlmzoo.integrations.wandb import WandbTracker
from vlmzoo.registry import nearest_hint

__all__ = ["TRACKERS", "SteadyTracker", "Tracker", "make_trackers"]

logger = logging.getLogger(__name__)

TRACKERS = ("tensorboard", "wandb", "trackio")
"""What ``report_to`` may name."""

_IDS = "trackers.json"
_MAX_FAILURES_IN_A_ROW = 3  # a service that is away may make every call wait
_SERVICES: dict[str, Any] = {"wandb": WandbTracker, "trackio": TrackioTracker}


class Tracker(Protocol):
    """Shows the numbers of a run."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take the numbers of one step.

        Args:
            step: the x axis, from 1.
            scalars: by name; a name with a slash groups the curves.
        """
        ...

    def close(self) -> None:
        """Send what is buffered and let go."""
        ...


class SteadyTracker:
    """A tracker whose faults do not end a run: the first is told, and after three in a row it is left alone.

    Args:
        name: of the tracker, for the warning.
        inner: what does the work.
    """

    def __init__(self, name: str, inner: Tracker) -> None:
        self.name = name
        self.inner = inner
        self._failures = 0  # in a row
        self._has_warned = False

    def log(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Hand on the numbers of one step.

        Args:
            step: the x axis.
            scalars: a line of the journal; what is no number is left out, and so is ``step`` itself.
        """
        if self._failures >= _MAX_FAILURES_IN_A_ROW:
            return
        numbers = {name: float(value) for name, value in scalars.items() if isinstance(value, Real) and name != "step"}
        is_fine = self._survives(lambda: self.inner.log(step, numbers))
        self._failures = 0 if is_fine else self._failures + 1

    def close(self) -> None:
        """Close the tracker, also one that was left alone: it may still have something to send."""
        self._survives(self.inner.close)

    def _survives(self, call: Callable[[], None]) -> bool:
        """Say whether a call went well; warn of the first that did not."""
        try:
            call()
        except Exception as error:  # whatever a service, or the network before it, may raise
            if not self._has_warned:
                logger.warning(
                    "The tracker `%s` failed (%r); training goes on, the journal has it all.", self.name, error
                )
            self._has_warned = True
            return False
        return True


def make_trackers(
    names: Sequence[str],
    *,
    run_dir: str | Path,
    run_name: str,
    config: Mapping[str, Any],
    is_resumed: bool = True,
) -> list[Tracker]:
    """Start the trackers of a run; on rank 0 only.

    What a service calls the run stands in ``trackers.json`` of the run's folder, so that a run that goes on after a
    kill goes on there, too.

    Args:
        names: of ``tensorboard``, ``wandb`` and ``trackio``.
        run_dir: the run's folder.
        run_name: what people read.
        config: of the run, JSON values.
        is_resumed: False starts anew at the services, whatever an earlier run left in the folder.

    Raises:
        ConfigError: if a name is unknown, or a service fails that has never tracked this run.
        DataError: if ``trackers.json`` is broken.
        MissingExtraError: if a package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"`report_to` takes no `{name}`.{nearest_hint(name, TRACKERS)}")
    folder = Path(run_dir)
    if not is_resumed:
        (folder / _IDS).unlink(missing_ok=True)
    known = _read_ids(folder / _IDS)
    ids = {**known, **{name: _new_id(name) for name in names if name in _SERVICES and name not in known}}
    if ids != known:
        write_whole(folder / _IDS, json.dumps(ids, indent=2) + "\n")
    trackers: list[Tracker] = []
    try:
        for name in dict.fromkeys(names):
            if name in _SERVICES:
                about = {"run_dir": folder, "run_name": run_name, "run_id": ids[name], "config": config}
                tracker: Tracker | None = _start_service(name, about, is_known=name in known)
            else:
                tracker = TensorboardTracker(folder / "events")
            trackers += [] if tracker is None else [SteadyTracker(name, tracker)]
    except BaseException:
        for tracker in trackers:
            tracker.close()
        raise
    return trackers


def _start_service(name: str, about: Mapping[str, Any], *, is_known: bool) -> Tracker | None:
    """Start a tracker; None if the service of a run that goes on is away, since that must not end the run."""
    build = _SERVICES[name]
    try:
        return build(**about)
    except MissingExtraError:
        raise
    except Exception as error:  # whatever a service, or the network before it, may raise
        if not is_known:
            raise ConfigError(
                f"The tracker `{name}` cannot start ({error!r}); log in, keep it on this machine "
                f"({build.offline_hint}), or leave it out of `report_to`."
            ) from error
        logger.warning("The tracker `%s` cannot go on (%r); training does, the journal has it all.", name, error)
        return None


def _new_id(name: str) -> str:
    """Return an id for a run; from the system's randomness, so that the run's own is left alone."""
    return (os.environ.get("WANDB_RUN_ID") if name == "wandb" else None) or uuid4().hex[:8]


def _read_ids(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        ids = None
    if not isinstance(ids, dict) or not all(isinstance(value, str) for value in ids.values()):
        raise DataError(f"`{path}` must hold the ids of trackers by name, but does not; delete it to track anew.")
    return ids
