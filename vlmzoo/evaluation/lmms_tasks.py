"""Tasks of lmms-eval beside our own benchmarks: asked by lmms-eval, written down as our answers are."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeGuard

from rich.table import Table

from vlmzoo.config import LmmsEvalConfig
from vlmzoo.data.json_lines import write_whole
from vlmzoo.evaluation.records import Generation
from vlmzoo.integrations.lmms_tasks import ask_tasks

__all__ = ["TaskScore", "evaluate_tasks", "generations_of", "scores_of_results", "task_table"]

_LOGGED = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "token_counts", "doc_hash", "input_media")
_ERRORS = ("_stderr", "_stderr_clt", "_stderr_clustered")


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One figure of lmms-eval.

    Args:
        task: name.
        metric: name.
        value: in the unit of the task: most are shares, MME and MM-Vet have points.
        stderr: standard error; None where lmms-eval knows none.
    """

    task: str
    metric: str
    value: float
    stderr: float | None


def evaluate_tasks(
    model: Any, processor: Any, config: LmmsEvalConfig, *, out_dir: str | Path, batch_size: int
) -> list[TaskScore]:
    """Let lmms-eval ask its tasks, and write what came of it.

    Args:
        model: what is measured.
        processor: of the model.
        config: which tasks, and how.
        out_dir: gets ``scores.json`` and, for each task, ``<task>/generations.jsonl``, which
            ``eval/compare_scores.py`` reads.
        batch_size: questions asked at once.

    Returns:
        All figures, task by task.

    Raises:
        ConfigError: if a task is unknown.
        MissingExtraError: if lmms-eval is not installed.
    """
    folder = Path(out_dir)
    results, samples = ask_tasks(
        model,
        processor,
        config.tasks,
        out_dir=folder,
        include_path=config.include_path,
        limit=config.limit,
        force_simple=config.force_simple,
        batch_size=batch_size,
        max_new_tokens=config.max_new_tokens,
        num_frames=config.num_frames,
    )
    scores = scores_of_results(results)
    write_whole(folder / "scores.json", json.dumps([asdict(score) for score in scores], indent=2) + "\n")
    for task, logged in samples.items():
        rows = generations_of(logged, max_new_tokens=config.max_new_tokens)
        lines = [json.dumps(row.to_dict(), ensure_ascii=False, default=str) + "\n" for row in rows]
        write_whole(folder / task / "generations.jsonl", "".join(lines))
    return scores


def scores_of_results(results: Mapping[str, Mapping[str, Any]]) -> list[TaskScore]:
    """Read lmms-eval's ``{task: {"metric,filter": value, "metric_stderr,filter": error}}``.

    Its further errors (``_stderr_clt``, ``_stderr_clustered``) are left out: they are those of a mean, whatever the
    metric is.
    """
    scores: list[TaskScore] = []
    for task, found in results.items():
        for key, value in found.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith(_ERRORS) or not _is_number(value):
                continue
            error = found.get(f"{metric}_stderr,{filtered}")
            name = metric if filtered == "none" else f"{metric} ({filtered})"
            stderr = float(error) if _is_number(error) else None
            scores.append(TaskScore(task=task, metric=name, value=float(value), stderr=stderr))
    return scores


def generations_of(logged: Sequence[Mapping[str, Any]], *, max_new_tokens: int) -> list[Generation]:
    """Return what lmms-eval logged as generations of ours.

    An answer counts as finished if it has fewer tokens than it might have had. Where likelihoods were compared, the
    likeliest option is the answer.

    Args:
        logged: of one task.
        max_new_tokens: the limit where the task names none.
    """
    return [_generation(row, max_new_tokens) for row in logged]


def task_table(scores: Sequence[TaskScore]) -> Table:
    """Return the table that a console prints."""
    table = Table(title="lmms-eval", title_justify="left")
    for heading, justify in (("task", "left"), ("metric", "left"), ("value", "right"), ("standard error", "right")):
        table.add_column(heading, justify=justify)  # pyright: ignore[reportArgumentType]
    last = None
    for score in scores:
        error = "" if score.stderr is None else f"{score.stderr:.4f}"
        table.add_row("" if score.task == last else score.task, score.metric, f"{score.value:.4f}", error)
        last = score.task
    return table


def _generation(row: Mapping[str, Any], max_new_tokens: int) -> Generation:
    arguments = list(row.get("arguments", ()))
    prompt = next((value for value in arguments if isinstance(value, str)), "")
    options = next((value for value in arguments if isinstance(value, Mapping)), {})
    counts = (row.get("token_counts") or [None])[0] or {}
    num_said = int(counts.get("output_tokens") or 0)
    return Generation(
        id=str(row["doc_id"]),
        prompt=prompt,
        completion=_likeliest(row.get("filtered_resps"), arguments) or _first_text(row.get("resps", ())),
        reference=row.get("target"),
        scores=_numbers({name: value for name, value in row.items() if name not in _LOGGED}),
        num_prompt_tokens=int(counts.get("input_tokens") or 0),
        num_completion_tokens=num_said,
        finished=num_said < int(options.get("max_new_tokens") or max_new_tokens),
        meta=dict(row.get("doc", {})),
    )


def _likeliest(found: Any, arguments: Sequence[Any]) -> str:
    """Return the option with the least negative log-probability; "" where none were compared.

    Args:
        found: what came of the requests of a question; pairs of nats and whether it would be said, one an option.
        arguments: of all these requests, one after the other; an option stands second in each.
    """
    if not isinstance(found, (list, tuple)) or not found or not all(map(_is_pair, found)):
        return ""
    options = arguments[1 :: len(arguments) // len(found)]
    return str(min(zip(found, options, strict=True), key=lambda one: one[0][0])[1])


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and _is_number(value[0]) and isinstance(value[1], bool)


def _first_text(responses: Any) -> str:
    while isinstance(responses, (list, tuple)):
        responses = next(iter(responses), "")
    return str(responses)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what is a number, or a mapping with a number as its ``score``."""
    plain = ((name, value) for name, value in values.items() if _is_number(value))
    nested = ((n, v["score"]) for n, v in values.items() if isinstance(v, Mapping) and _is_number(v.get("score")))
    return {name: float(value) for name, value in chain(plain, nested)}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not (isinstance(value, float) and math.isnan(value))
