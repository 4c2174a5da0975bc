"""TensorBoard: the scalars of a run as event files."""

from collections.abc import Mapping
from pathlib import Path

from vlmzoo.errors import MissingExtraError

__all__ = ["TensorboardTracker"]


class TensorboardTracker:
    """Writes scalars to a folder that ``tensorboard --logdir`` reads.

    Args:
        events_dir: made if need be; a run that goes on after a kill adds a file to it.

    Raises:
        MissingExtraError: if tensorboard is not installed.
    """

    def __init__(self, events_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError.for_package("tensorboard", "train") from error
        self._writer = SummaryWriter(log_dir=str(events_dir))

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write the numbers of one step.

        Args:
            step: the x axis.
            scalars: by name; a name with a slash groups the curves.
        """
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, global_step=step)

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._writer.close()
