"""When a run is written down: every so many steps, and when it is asked to stop."""

from typing import Any

from vlmzoo.checkpoint import save_model, save_training
from vlmzoo.checkpoint.training import remove_old
from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import barrier, is_main
from vlmzoo.loop import StepReport
from vlmzoo.runs.folder import RunFolder

__all__ = ["Checkpointer"]


class Checkpointer:
    """A report that writes the run down; all ranks call it after every step.

    Args:
        config: says how often, and how much of it.
        folder: where to.
        engine: weights and optimiser.
        experience: cursor of the data.
        model: as ``load_model`` is to find it, for ``model_only``.
        processor: of the model.
    """

    def __init__(
        self, config: RunConfig, folder: RunFolder, engine: Any, experience: Any, model: Any, processor: Any
    ) -> None:
        self.config = config.checkpoints
        self.num_steps = config.num_steps
        self.folder = folder
        self.engine, self.experience = engine, experience
        self.model, self.processor = model, processor
        self._written = 0  # the step that was written last

    def __call__(self, report: StepReport) -> None:
        """Write the run down if it is time; the end of a run has ``final/``."""
        if self.config.every and report.step % self.config.every == 0 and report.step < self.num_steps:
            self._write(report.step)

    def is_last(self, report: StepReport, *, is_asked: bool) -> bool:
        """Say whether to stop after this step, and if so write the run down.

        Args:
            report: of the step.
            is_asked: whether any rank was asked to stop.
        """
        if not is_asked or report.step >= self.num_steps:
            return False
        if self._written != report.step:
            self._write(report.step, is_resumable=True)
        return True

    def _write(self, step: int, *, is_resumable: bool = False) -> None:
        self._written = step
        if self.config.model_only and not is_resumable:
            state = self.engine.gathered_state_dict()
            if is_main():
                save_model(self.model, self.processor, self.folder.checkpoint(step), state_dict=state)
                remove_old(self.folder.checkpoints, self.config.keep)
            barrier()
            return
        save_training(
            self.folder.checkpoints,
            step=step,
            engine=self.engine,
            experience=self.experience,
            keep=self.config.keep,
        )
