import json

import pytest
from rich.console import Console

from vlmzoo.errors import ConfigError
from vlmzoo.evaluation import suite


@pytest.fixture
def registered(monkeypatch, make_benchmark, samples):
    """Let ``{type: list, num: n}`` name a benchmark of the first n samples."""
    monkeypatch.setattr(suite.BENCHMARKS, "build", lambda spec: make_benchmark(samples[: spec["num"]]))


def test_each_benchmark_gets_a_folder_a_row_and_its_scores(tmp_path, registered, make_model, processor, answers):
    specs = {"few": {"type": "list", "num": 2}, "all": {"type": "list", "num": 7}}
    told = []
    results = suite.evaluate_model(
        make_model(answers),
        processor,
        specs,
        out_dir=tmp_path,
        batch_size=4,
        report=lambda *counts: told.append(counts),
    )
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores) == ["few", "all"]
    assert scores["few"] == {"exact_match": {"mean": 1.0, "low": 1.0, "high": 1.0, "num": 2}}
    assert scores["all"]["exact_match"]["num"] == 7
    assert (tmp_path / "all" / "generations.jsonl").is_file()
    assert told == [("few", 2, 2), ("all", 4, 7), ("all", 7, 7)]

    console = Console(record=True, width=120, file=(tmp_path / "table.txt").open("w"))
    console.print(suite.scores_table(results))
    text = console.export_text()
    assert "exact_match" in text
    assert "0.857" in text
    assert "0.500" in text  # the paper's


def test_a_label_that_cannot_name_a_folder_is_refused(tmp_path, make_model, processor):
    with pytest.raises(ConfigError, match="must be of letters"):
        suite.evaluate_model(make_model({}), processor, {"../up": {"type": "x"}}, out_dir=tmp_path, batch_size=1)
