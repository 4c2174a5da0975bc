"""Weights & Biases: the numbers of a run on its service, or kept here until ``wandb sync``."""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.errors import MissingExtraError

__all__ = ["WandbTracker"]


class WandbTracker:
    """Sends numbers to a run of Weights & Biases.

    Its own environment variables hold: ``WANDB_MODE`` (``offline``, ``disabled``), ``WANDB_ANONYMOUS``,
    ``WANDB_API_KEY``, ``WANDB_BASE_URL``, ``WANDB_ENTITY``, ``WANDB_PROJECT``, ``WANDB_NAME``, ``WANDB_DIR``.

    Args:
        run_dir: the run's folder; ``wandb/`` in it takes the files unless ``WANDB_DIR`` says otherwise.
        run_name: what people read.
        run_id: unique in the project; the same id goes on with the same run.
        config: of the run, JSON values.

    Raises:
        MissingExtraError: if wandb is not installed.
    """

    offline_hint = "WANDB_MODE=offline"

    def __init__(self, *, run_dir: Path, run_name: str, run_id: str, config: Mapping[str, Any]) -> None:
        try:
            wandb: Any = importlib.import_module("wandb")  # a run's folder of the same name may stand on the path
        except ImportError as error:
            raise MissingExtraError.for_package("wandb", "track") from error
        ours = {"project": "vlmzoo", "name": run_name, "dir": str(run_dir)}
        # An argument wins over its variable, so none is given where the variable is set.
        given = {name: value for name, value in ours.items() if not os.environ.get(f"WANDB_{name.upper()}")}
        self._run: Any = wandb.init(**given, id=run_id, resume="allow", config=dict(config))

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Send the numbers of one step; those that the service has from before a kill are not sent again.

        Args:
            step: the x axis.
            scalars: by name.
        """
        if step >= self._run.step:  # of a run that goes on, one after the last that the service has
            self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Send what is buffered; a run that an error ends is shown as failed."""
        self._run.finish(exit_code=int(sys.exc_info()[0] is not None))
