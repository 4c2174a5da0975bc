"""Our benchmarks as tasks of lmms-eval: questions, pictures and references in a folder, scored by our own functions.

A benchmark becomes a task where each answer is a text with scores of its own, whose means are its results. One that
asks the model itself (masks, agents, several turns) or whose results are not means over answers (CHAIR) does not.

Source: lmms-eval, docs/task_guide.md (0.7).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vlmzoo.data.conversations import with_images
from vlmzoo.data.images import load_image
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, AnsweringBenchmark, Benchmark
from vlmzoo.types import Sample

__all__ = ["TaskFunctions", "export_tasks", "task_functions"]

_ROWS, _SPEC, _FUNCTIONS = "test.jsonl", "benchmark.json", "functions.py"
_MODULE = '''"""What lmms-eval calls for the task beside it."""

from vlmzoo.evaluation.lmms_export import task_functions

pictures, text, messages, target, score, mean = task_functions(__file__)
'''


def export_tasks(benchmarks: Mapping[str, Mapping[str, Any]], folder: str | Path) -> dict[str, str]:
    """Write every benchmark that can be one as a task ``vlmzoo_<label>``, for ``--include_path FOLDER``.

    Args:
        benchmarks: ``{label: {type: name, …}}``, as in a config of an evaluation.
        folder: where to, new or empty.

    Returns:
        Why a benchmark was left out, by label.

    Raises:
        ConfigError: if the folder holds something, or no benchmark can be a task.
        DataError: if a reference is no JSON value.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"`{folder}` must be new or empty, but holds {next(folder.iterdir()).name}; name another.")
    built = {label: BENCHMARKS.build(spec) for label, spec in benchmarks.items()}
    left_out = {label: why for label, benchmark in built.items() if (why := _why_not(benchmark))}
    if len(left_out) == len(built):
        raise ConfigError(f"No benchmark can be a task of lmms-eval: {left_out or 'none is given'}.")
    for label, benchmark in built.items():
        if label not in left_out:
            _write(label, benchmarks[label], benchmark, folder / label)
    return left_out


def _why_not(benchmark: Benchmark) -> str:
    if isinstance(benchmark, AnsweringBenchmark):
        return "it asks the model itself, or its results are not means over answers"
    return ""


def _write(label: str, spec: Mapping[str, Any], benchmark: Benchmark, folder: Path) -> None:
    (folder / "pictures").mkdir(parents=True)
    with (folder / _ROWS).open("w", encoding="utf-8") as file:
        for number, sample in enumerate(benchmark.questions()):
            file.write(_row(number, sample, folder) + "\n")
    (folder / _SPEC).write_text(json.dumps(dict(spec)), encoding="utf-8")
    (folder / _FUNCTIONS).write_text(_MODULE, encoding="utf-8")
    task = {
        "task": f"vlmzoo_{label}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str((folder / _ROWS).absolute())}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_visual": "@pictures",
        "doc_to_text": "@text",
        "doc_to_messages": "@messages",
        "doc_to_target": "@target",
        "process_results": "@score",
        "generation_kwargs": {"max_new_tokens": benchmark.max_new_tokens, "temperature": 0, "do_sample": False},
        "metric_list": [
            {"metric": name, "aggregation": "@mean", "higher_is_better": True} for name in benchmark.scores
        ],
        "metadata": [{"version": 0.0}],
    }
    text = yaml.safe_dump(task, sort_keys=False, allow_unicode=True)
    text = re.sub(r"'@(\w+)'", r"!function functions.\1", text)  # its YAML has a tag that safe YAML does not know
    (folder / f"vlmzoo_{label}.yaml").write_text(text, encoding="utf-8")


def _row(number: int, sample: Sample, folder: Path) -> str:
    """Return a question as a line of JSON; its pictures are written as PNG, in the order of their places."""
    turns, names = [], []
    for message in with_images(sample):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kept = []
        for block in blocks:
            if block["type"] == "image":
                names.append(f"pictures/{number}-{len(names)}.png")
                load_image(block["image"]).save(folder / names[-1])
            kept.append({"type": block["type"], "text": block.get("text", "")})
        turns.append({"role": message["role"], "content": kept})
    try:
        reference = json.dumps(sample.reference)
    except TypeError as error:
        raise DataError(
            f"The reference of question `{sample.id}` must be a JSON value, but is {sample.reference!r} instead."
        ) from error
    # As text, so that rows whose references are of different kinds have one type.
    return json.dumps({"id": sample.id, "turns": json.dumps(turns), "pictures": names, "reference": reference})


class TaskFunctions(NamedTuple):
    """What a task's YAML names."""

    pictures: Callable[[Mapping[str, Any]], list[Any]]
    text: Callable[[Mapping[str, Any]], str]
    messages: Callable[[Mapping[str, Any]], list[dict[str, Any]]]
    target: Callable[[Mapping[str, Any]], str]
    score: Callable[[Mapping[str, Any], Sequence[Any]], dict[str, float]]
    mean: Callable[[Sequence[float]], float]


def task_functions(file: str | Path) -> TaskFunctions:
    """Return the functions of the task in whose folder a file lies.

    Args:
        file: ``__file__`` of the module that lmms-eval loads.
    """
    folder = Path(file).parent
    scores = BENCHMARKS.build(json.loads((folder / _SPEC).read_text(encoding="utf-8"))).scores

    def pictures(doc: Mapping[str, Any]) -> list[Any]:
        return [load_image(folder / name) for name in doc["pictures"]]

    def text(doc: Mapping[str, Any]) -> str:
        return "".join(block["text"] for turn in json.loads(doc["turns"]) for block in turn["content"])

    def messages(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
        shown = iter(pictures(doc))
        return [
            {
                "role": turn["role"],
                "content": [
                    {"type": "image", "url": next(shown)} if block["type"] == "image" else block
                    for block in turn["content"]
                ],
            }
            for turn in json.loads(doc["turns"])
        ]

    def target(doc: Mapping[str, Any]) -> str:
        return str(json.loads(doc["reference"]))

    def score(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
        said = str(results[0]) if results else ""
        return {name: one(said, json.loads(doc["reference"])) for name, one in scores.items()}

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else float("nan")

    return TaskFunctions(pictures, text, messages, target, score, mean)
