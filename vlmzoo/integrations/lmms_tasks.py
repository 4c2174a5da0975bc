"""lmms-eval's tasks, asked by lmms-eval itself of a model that is already loaded."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vlmzoo.errors import ConfigError, MissingExtraError
from vlmzoo.integrations.lmms_eval import model_class
from vlmzoo.registry import nearest_hint

__all__ = ["ask_tasks", "known_tasks"]

_RESAMPLES = 1000  # for the standard errors that lmms-eval draws


def known_tasks(*, include_path: str | Path | None = None) -> list[str]:
    """Return the names of all tasks and groups, sorted.

    Args:
        include_path: a folder with further tasks.

    Raises:
        MissingExtraError: if lmms-eval is not installed.
    """
    return sorted(_manager(include_path).all_tasks)


def ask_tasks(
    model: Any,
    processor: Any,
    tasks: Sequence[str],
    *,
    out_dir: str | Path,
    include_path: str | Path | None = None,
    limit: int | None = None,
    force_simple: bool = False,
    **options: Any,
) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Let lmms-eval ask its tasks.

    Args:
        model: what is measured.
        processor: of the model.
        tasks: names of tasks and groups.
        out_dir: where tasks put files of their own, such as submissions.
        include_path: a folder with further tasks.
        limit: the first so many questions of each; None for all.
        force_simple: whether pictures stand before the question; tasks that compare likelihoods need it.
        options: ``batch_size``, ``max_new_tokens`` and ``num_frames``; see ``vlmzoo.integrations.lmms_eval``.

    Returns:
        lmms-eval's results by task, and what it logged of each question by task.

    Raises:
        ConfigError: if a task is unknown.
        MissingExtraError: if lmms-eval is not installed.
    """
    manager = _manager(include_path)
    unknown = [task for task in tasks if task not in manager.all_tasks]
    if unknown:
        raise ConfigError(
            f"`lmms_eval.tasks` names `{unknown[0]}`, which the installed lmms-eval does not have."
            f"{nearest_hint(unknown[0], manager.all_tasks)}"
        )
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    asked = model_class(is_simple=force_simple)(loaded=(model, processor), **options)
    found = _module("lmms_eval.evaluator").simple_evaluate(
        model=asked,
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        bootstrap_iters=_RESAMPLES,
        log_samples=True,
        cli_args=SimpleNamespace(output_path=str(out_dir), process_with_media=False),
    )
    return (found["results"], found["samples"]) if found else ({}, {})  # ranks but the first get nothing


def _manager(include_path: str | Path | None) -> Any:
    path = None if include_path is None else str(include_path)
    return _module("lmms_eval.tasks").TaskManager("WARNING", include_path=path, model_name="vlmzoo")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError.for_package("lmms-eval", "eval") from error
