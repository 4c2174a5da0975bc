"""Benchmarks of ours as tasks of lmms-eval, without it; tests/interop/test_lmms_eval.py has it."""

import importlib.util
import json

import pytest
import yaml
from typer.testing import CliRunner

from vlmzoo.cli import app
from vlmzoo.data.images import load_image
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.lmms_export import export_tasks

PANELS = {
    "type": "conversations",
    "source": {"type": "colour_panels", "panel_px": 12, "seed": 5},
    "num_questions": 3,
    "score": "exact_match",
}
TABLES = {
    "type": "synthetic",
    "task": {
        "type": "consecutive_table_readout",
        "style": "compact",
        "num_rows": 2,
        "num_cols": 3,
        "path_cells": [2, 3],
    },
    "kind": "image",
    "num_questions": 2,
    "seed": 7,
    "score": {"type": "table_exact_match"},
    "max_new_tokens": 40,
}


class Loader(yaml.SafeLoader):
    pass


Loader.add_constructor("!function", lambda loader, node: f"!function {loader.construct_scalar(node)}")


def functions_of(folder):
    spec = importlib.util.spec_from_file_location("exported_functions", folder / "functions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(folder):
    return [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("spec", [PANELS, TABLES], ids=["panels", "tables"])
def test_a_task_asks_and_scores_as_the_benchmark_does(spec, tmp_path):
    assert export_tasks({"mine": spec}, tmp_path / "tasks") == {}
    folder = tmp_path / "tasks" / "mine"
    task = yaml.load((folder / "vlmzoo_mine.yaml").read_text(encoding="utf-8"), Loader)
    functions, benchmark = functions_of(folder), BENCHMARKS.build(spec)
    assert task["task"] == "vlmzoo_mine"
    assert task["generation_kwargs"]["max_new_tokens"] == benchmark.max_new_tokens
    assert [metric["metric"] for metric in task["metric_list"]] == list(benchmark.scores)
    named = [value for value in str(task).split("'") if value.startswith("!function functions.")]
    assert len(named) == 5 + len(benchmark.scores)
    assert all(hasattr(functions, name.rpartition(".")[2]) for name in named)
    questions, rows = list(benchmark.questions()), rows_of(folder)
    assert len(rows) == len(questions) == spec["num_questions"]
    for row, question in zip(rows, questions, strict=True):
        [turn] = functions.messages(row)
        blocks = question.messages[-1]["content"]
        assert [block["type"] for block in turn["content"]] == [block["type"] for block in blocks]
        assert functions.text(row) == "".join(block.get("text", "") for block in blocks)
        shown = [block["url"] for block in turn["content"] if block["type"] == "image"]
        for one, other in zip(shown, question.images, strict=True):
            assert one.tobytes() == load_image(other).tobytes()
        for said in (str(question.reference), "nothing of the kind"):
            expected = {name: score(said, question.reference) for name, score in benchmark.scores.items()}
            assert functions.score(row, [said]) == expected
    assert functions.mean([1.0, 0.0, 0.5]) == 0.5


def test_a_benchmark_that_asks_the_model_itself_is_left_out_with_the_reason(tmp_path):
    masks = {"type": "synthetic_masks", **BENCHMARKS.entry("synthetic_masks").tiny}
    left_out = export_tasks({"mine": PANELS, "masks": masks}, tmp_path / "tasks")
    assert "asks the model itself" in left_out["masks"]
    assert not (tmp_path / "tasks" / "masks").exists()
    with pytest.raises(ConfigError, match="No benchmark can be a task"):
        export_tasks({"masks": masks}, tmp_path / "others")


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"must be new or empty, but holds mine\.txt"):
        export_tasks({"mine": PANELS}, tmp_path)


def test_the_command_says_what_became_a_task(tmp_path):
    masks = {"type": "synthetic_masks", **BENCHMARKS.entry("synthetic_masks").tiny}
    config = {"model": {"path": "x/y"}, "output_dir": "run", "benchmarks": {"mine": PANELS, "masks": masks}}
    (tmp_path / "eval.yaml").write_text(json.dumps(config), encoding="utf-8")
    done = CliRunner().invoke(app, ["data", "lmms", str(tmp_path / "eval.yaml"), "--out", str(tmp_path / "tasks")])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "mine: task vlmzoo_mine"
    assert done.stdout.splitlines()[1].startswith("masks: it asks the model itself")
