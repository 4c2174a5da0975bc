"""Whether a run begins, goes on or is over: what its folder already holds decides."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import barrier, is_main
from vlmzoo.errors import ConfigError
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal

__all__ = ["Beginning", "begin"]

logger = logging.getLogger(__name__)

_FREE = {
    "output_dir",
    "overwrite",
    "checkpoints",
    "report_to",
    "samples_every",
    "evaluation",
    "evaluate_every",
    "eval_batch_size",
    "title",
    "notes",
    "hub",
}
"""What may change between two parts of one run: none of it reaches the weights."""


@dataclass(frozen=True)
class Beginning:
    """How a run begins.

    Args:
        state: ``new``, ``resumed`` or ``finished``.
        checkpoint: what a resumed run goes on from.
    """

    state: Literal["new", "resumed", "finished"]
    checkpoint: Path | None = None


def begin(config: RunConfig, folder: RunFolder) -> Beginning:
    """Look at the folder and prepare it; all ranks must call.

    A finished run of another configuration is moved aside, so nothing is lost; an unfinished one is refused.

    Raises:
        ConfigError: if the folder holds an unfinished run of another configuration; the differences are named.
    """
    differences = _differences(config, folder)
    checkpoint = next((path for _, path in folder.finished_checkpoints() if (path / "run.json").is_file()), None)
    is_finished = _is_finished(folder)
    barrier()  # everybody has looked before anything changes
    if not config.overwrite:
        _refuse_to_lose(folder, differences, is_resumable=checkpoint is not None, is_finished=is_finished)
    if differences and checkpoint is not None and not is_finished and not config.overwrite:
        shown = "; ".join(differences[:5]) + (f" and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise ConfigError(
            f"`{folder.root}` holds an unfinished run with another configuration ({shown}). Run that one again to "
            "finish it, choose another `output_dir`, or throw it away with `overwrite=true`."
        )
    if config.overwrite or differences is None or differences or not (is_finished or checkpoint):
        if is_main():
            _clear(folder, aside=bool(differences) and is_finished and not config.overwrite)
        barrier()
        return Beginning("new")
    return Beginning("finished") if is_finished else Beginning("resumed", checkpoint)


def _refuse_to_lose(folder: RunFolder, differences: list[str] | None, *, is_resumable: bool, is_finished: bool) -> None:
    """Refuse to begin anew where that would throw away what nobody could make again.

    Raises:
        ConfigError: naming what is there.
    """
    way_out = "choose another `output_dir`, or throw it away with `overwrite=true`."
    kept = [path for path in (folder.checkpoints, folder.final, folder.evaluation) if path.exists()]
    if differences is None and kept:
        raise ConfigError(f"`{kept[0]}` exists, but no run wrote down what it is; {way_out}")
    models = [path for _, path in folder.finished_checkpoints()]
    if models and not is_resumable and not is_finished:
        raise ConfigError(f"`{models[0]}` holds a model that a run cannot go on from (`model_only`); {way_out}")


def _differences(config: RunConfig, folder: RunFolder) -> list[str] | None:
    """Return how the configuration of the folder differs, as ``path: there → here``; None if it holds none."""
    try:
        there = json.loads(folder.config.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    here = config.model_dump(mode="json")
    return [
        f"`{path}`: {old!r} → {new!r}" for path, old, new in _walk(there, here) if path.split(".", 1)[0] not in _FREE
    ]


def _walk(there: Any, here: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        names = [*there, *(name for name in here if name not in there)]
        return [
            found
            for name in names
            for found in _walk(there.get(name), here.get(name), f"{path}.{name}" if path else str(name))
        ]
    return [] if there == here else [(path, there, here)]


def _is_finished(folder: RunFolder) -> bool:
    if not (folder.final / "config.json").is_file() or not folder.journal.is_file():
        return False
    try:
        num_steps = json.loads(folder.config.read_text(encoding="utf-8"))["config"]["num_steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    lines = read_journal(folder.journal)
    return bool(lines) and lines[-1]["step"] >= num_steps


def _clear(folder: RunFolder, *, aside: bool) -> None:
    """Make room for a new run: move the old one aside, or remove what it left."""
    if aside:
        number = 1
        while (place := folder.root.with_name(f"{folder.root.name}.{number}")).exists():
            number += 1
        folder.root.rename(place)
        folder.root.mkdir()
        logger.warning("`%s` held a finished run with another configuration; it is now `%s`.", folder.root, place)
        return
    written = (folder.journal, folder.samples, folder.report, folder.report_json, folder.config)
    for path in (*written, *folder.rollout_files()):
        path.unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.events, folder.evaluation, folder.final, folder.curves, folder.online):
        shutil.rmtree(path, ignore_errors=True)
