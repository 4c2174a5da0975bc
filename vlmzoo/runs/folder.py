"""The folder of a run: one place for each thing that it leaves behind, made when it is first written."""

import os
from collections.abc import Iterator
from pathlib import Path

from vlmzoo.errors import ConfigError

__all__ = ["RunFolder"]


class RunFolder:
    """The paths of one run; nothing is made before ``ensure`` or a writer asks for it.

    Args:
        root: ``output_dir`` of the configuration.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def config(self) -> Path:
        """What was run: the resolved configuration, versions and commit."""
        return self.root / "config.resolved.json"

    @property
    def journal(self) -> Path:
        """One line a step."""
        return self.root / "journal.jsonl"

    @property
    def events(self) -> Path:
        """Folder of the trackers' files."""
        return self.root / "events"

    @property
    def samples(self) -> Path:
        """What the model said during training."""
        return self.root / "samples.jsonl"

    @property
    def rollouts(self) -> Path:
        """What was asked, said, rewarded and learned from; other ranks write files of their own beside it."""
        return self.root / "rollouts.jsonl"

    def rollout_files(self) -> list[Path]:
        """Return the files of all ranks that are there."""
        own = [self.rollouts] if self.rollouts.is_file() else []
        return own + sorted(self.root.glob("rollouts.rank*.jsonl"))

    @property
    def online(self) -> Path:
        """Folder of what online preferences were made of: spools, pictures, ledgers."""
        return self.root / "online"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``step-N`` folders."""
        return self.root / "checkpoints"

    @property
    def evaluation(self) -> Path:
        """Folder of generations and scores."""
        return self.root / "evaluation"

    def evaluation_at(self, step: int) -> Path:
        """Return the folder of what was answered along the way, after ``step`` optimisation steps."""
        return self.evaluation / "steps" / f"step-{step}"

    @property
    def final(self) -> Path:
        """What ``load_model`` reads."""
        return self.root / "final"

    @property
    def curves(self) -> Path:
        """Folder of the curves' PNG files."""
        return self.root / "curves"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.root / "report.html"

    @property
    def report_json(self) -> Path:
        """The same for programs."""
        return self.root / "report.json"

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint after ``step`` optimisation steps."""
        return self.checkpoints / f"step-{step}"

    def ensure(self) -> "RunFolder":
        """Make the folder and check that it takes files, so that a run fails before its first step, not at its end.

        Raises:
            ConfigError: if it cannot be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(self._unusable(f"cannot be made ({error.strerror})")) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise ConfigError(self._unusable("cannot be written to"))
        return self

    def finished_checkpoints(self) -> Iterator[tuple[int, Path]]:
        """Iterate over ``(step, folder)`` of the checkpoints that were written whole, the latest first."""
        found = self.checkpoints.glob("step-*") if self.checkpoints.is_dir() else ()
        numbered = [(int(path.name[5:]), path) for path in found if path.name[5:].isdecimal() and path.is_dir()]
        return iter(sorted(numbered, reverse=True))

    def _unusable(self, found: str) -> str:
        return (
            f"`output_dir` must be a folder that can be written to, but `{self.root}` {found} instead; "
            "choose another with `output_dir=PATH`."
        )
