"""The state of a run on disk: written whole by all ranks, found again, and restored to the last bit."""

import json
import pickle
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vlmzoo.distributed import barrier, is_main, rank, world_size
from vlmzoo.errors import CheckpointError

__all__ = ["Resumable", "random_state", "remove_old", "restore_training", "save_training", "set_random_state"]

_FORMAT = 1


class Resumable(Protocol):
    """An experience, as far as its cursor goes."""

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where it stood."""
        ...


class SavesItself(Protocol):
    """An engine, as far as its weights and its optimiser go."""

    def save(self, folder: Path) -> None:
        """Write this rank's share."""
        ...

    def restore(self, folder: Path) -> None:
        """Read this rank's share."""
        ...


def save_training(folder: Path, *, step: int, engine: SavesItself, experience: Resumable, keep: int) -> Path:
    """Write what a run needs to go on after ``step``; all ranks must call.

    It is written under a temporary name and renamed when every rank is done, so that a folder named ``step-N`` is
    always whole. Older ones beyond the latest ``keep`` are removed afterwards.

    Args:
        folder: of the run's checkpoints.
        step: optimisation steps taken.
        engine: weights, optimiser, schedule.
        experience: cursor and counts of this rank.
        keep: how many checkpoints stay.

    Raises:
        CheckpointError: if it cannot be written; the older ones stay as they are.
    """
    partial, final = folder / f".step-{step}.partial", folder / f"step-{step}"
    try:
        if is_main():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        barrier()
        engine.save(partial / "engine")
        torch.save({"random": random_state(), "experience": experience.state_dict()}, partial / f"rank-{rank()}.pt")
        barrier()
        if is_main():
            facts = {"format": _FORMAT, "step": step, "world_size": world_size()}
            (partial / "run.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            remove_old(folder, keep)
    except OSError as error:
        raise CheckpointError(f"The checkpoint of step {step} cannot be written to `{folder}`: {error}.") from error
    barrier()
    return final


def restore_training(checkpoint: Path, *, engine: SavesItself, experience: Resumable) -> int:
    """Go back to where a run stood; all ranks must call.

    Args:
        checkpoint: a folder ``step-N``.
        engine: restored in place.
        experience: likewise.

    Returns:
        The steps that were taken.

    Raises:
        CheckpointError: if it is not whole, of another format, or was written by another number of ranks.
    """
    try:
        facts = json.loads((checkpoint / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"`{checkpoint}` is no checkpoint of a run ({error}); delete it.") from error
    if facts.get("format") != _FORMAT:
        raise CheckpointError(
            f"`{checkpoint}` must have format {_FORMAT}, but has {facts.get('format')!r} instead: another version of "
            "vlmzoo wrote it. Go on with that version, or use another `output_dir`."
        )
    if facts["world_size"] != world_size():
        raise CheckpointError(
            f"`{checkpoint}` was written by {facts['world_size']} ranks, but {world_size()} run now; the order of the "
            "data and the shares of the optimiser depend on it. Start as many, or use another `output_dir`."
        )
    engine.restore(checkpoint / "engine")
    own = _state_of_rank(checkpoint / f"rank-{rank()}.pt")
    experience.load_state_dict(own["experience"])
    set_random_state(own["random"])
    return int(facts["step"])


def _state_of_rank(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"`{path}` cannot be read ({error}); delete `{path.parent}`, and the run goes on from the one before."
        ) from error


def random_state() -> dict[str, Any]:
    """Return the state of every random generator of this process."""
    name, keys, *others = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *others],  # type: ignore[union-attr]
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set every random generator of this process."""
    random.setstate(_as_tuples(state["python"]))
    name, keys, *others = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *others))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def remove_old(folder: Path, keep: int) -> None:
    """Remove checkpoints beyond the latest ``keep``, and what a kill left half-written."""
    for leftover in folder.glob(".step-*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    finished = [path for path in folder.glob("step-*") if path.name[5:].isdecimal()]
    for path in sorted(finished, key=lambda path: int(path.name[5:]), reverse=True)[keep:]:
        shutil.rmtree(path, ignore_errors=True)
