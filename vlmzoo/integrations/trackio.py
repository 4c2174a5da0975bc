"""Trackio: the numbers of a run in a local data base, or in a Space of the Hub."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.errors import MissingExtraError

__all__ = ["TrackioTracker"]


class TrackioTracker:
    """Hands numbers to a run of Trackio, which ``trackio show`` draws.

    It stays on this machine unless ``TRACKIO_SPACE_ID`` names a Space. ``TRACKIO_DIR`` says where the data base lies;
    ``TRACKIO_PROJECT`` names the project.

    Args:
        run_dir: the run's folder; unused, since Trackio has one place for all runs.
        run_name: what people read.
        run_id: Trackio knows runs by name, so it is a part of the name; the same one goes on with the same run.
        config: of the run, JSON values.

    Raises:
        MissingExtraError: if trackio is not installed.
    """

    offline_hint = "without TRACKIO_SPACE_ID"

    def __init__(self, *, run_dir: Path, run_name: str, run_id: str, config: Mapping[str, Any]) -> None:
        try:
            trackio: Any = importlib.import_module("trackio")  # a run's folder of the same name may stand on the path
        except ImportError as error:
            raise MissingExtraError.for_package("trackio", "track") from error
        project = os.environ.get("TRACKIO_PROJECT") or "vlmzoo"
        self._run: Any = trackio.init(project=project, name=f"{run_name}-{run_id}", config=dict(config), resume="allow")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hand on the numbers of one step.

        Args:
            step: the x axis.
            scalars: by name.
        """
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Write what is buffered."""
        self._run.finish()
