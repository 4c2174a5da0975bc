"""Pairs after MIA-DPO from question to file: whole, resumed, counted, and learned from in a study."""

import json

import pytest
import yaml

from tests.vlmzoo.models.conftest import make_architecture
from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.config import MiaConfig, StudyConfig
from vlmzoo.config.loading import check_config
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.models.watched_answers import WatchedAnswer
from vlmzoo.runs import mia, study_run
from vlmzoo.runs.mia import build_mia
from vlmzoo.runs.mia_report import area_under_curve

CARDS = {"type": "shape_cards", "layouts": {"single": 1.0}, "num_rows": 30, "card_px": 28}
LAYOUTS = {"sequence": {2: 4}, "grid": {2: 3}, "pic_in_pic": {2: 3}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    built = build_model(make_architecture())
    return str(save_model(built, built.processor, tmp_path_factory.mktemp("model") / "final"))


def make(model, **options):
    values = {
        "model": model,
        "source": CARDS,
        "layouts": LAYOUTS,
        "tile_px": 14,
        "margin_px": 2,
        "max_new_tokens": 4,
        "batch_size": 3,
        "shard_size": 4,
        "perplexity": [1.0, 1e9],
        "thresholds": {kind: {"rule": "up_to", "limits": {2: 1.0}} for kind in LAYOUTS},
        "max_length_ratio": 1000.0,
        "min_edit_distance": 0.0,
        **options,
    }
    return check_config(values, schema=MiaConfig, origin="test")


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_build_that_was_stopped_writes_what_one_without_a_stop_writes(model, tmp_path, monkeypatch):
    whole = build_mia(make(model, write_dropped=True), tmp_path / "whole")
    asked = mia.answer_watched
    calls = []

    def stop_at_the_third(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return asked(*args, **kwargs)

    monkeypatch.setattr(mia, "answer_watched", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build_mia(make(model, write_dropped=True), tmp_path / "stopped")
    assert len(list((tmp_path / "stopped").glob("candidates-*"))) == 1
    monkeypatch.setattr(mia, "answer_watched", asked)
    assert build_mia(make(model, write_dropped=True), tmp_path / "stopped") == whole
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")
    rows = [json.loads(line) for path in sorted((tmp_path / "whole").glob("cand*")) for line in path.open()]
    assert [row["id"] for row in rows] == [f"mia-{number:07d}" for number in range(10)]
    assert all(0 <= row["ratio"] <= 1 and row["perplexity"] >= 1 for row in rows)
    assert whole["questions"] == 10
    assert sum(sum(counts.values()) for counts in whole["verdicts"].values()) == 10
    assert set(whole["detection"]) == set(LAYOUTS)


def test_several_processes_share_a_folder(model, tmp_path):
    whole = build_mia(make(model), tmp_path / "whole")
    halves = [build_mia(make(model), tmp_path / "parts", part=part, parts=2) for part in (1, 0)]
    assert halves[0]["questions"] < halves[1]["questions"] == whole["questions"]
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    with pytest.raises(ConfigError, match="one of 2"):
        build_mia(make(model), tmp_path / "parts", part=2, parts=2)


def test_pairs_are_read_by_how_they_were_chosen(model, tmp_path):
    found = build_mia(make(model, write_dropped=True), tmp_path)
    kept = sum(counts.get("kept", 0) for counts in found["verdicts"].values())
    assert kept
    source = SOURCES.build({"type": "mia_pairs", "path": str(tmp_path)})
    assert source.size == kept
    sample = source.sample(0)
    assert sample.rejected == sample.meta["answer"] != sample.meta["chosen"]
    chosen = SOURCES.build({"type": "mia_pairs", "path": str(tmp_path), "choice": "random", "num_pairs": 2})
    assert chosen.size == 2
    of_grids = SOURCES.build({"type": "mia_pairs", "path": str(tmp_path), "layouts": ["grid"]})
    assert all(of_grids.sample(place).meta["kind"] == "grid" for place in range(of_grids.size))


def test_right_answers_are_no_pairs_whatever_filter_dropped_them(model, tmp_path, monkeypatch):
    def answer_rightly(model, processor, items, **options):
        texts = [item.sample.messages[-1]["content"][0]["text"] for item in items]
        return [WatchedAnswer(text=text, ratio=0.99, perplexity=2.0) for text in texts]

    monkeypatch.setattr(mia, "answer_watched", answer_rightly)
    found = build_mia(make(model, write_dropped=True, thresholds=None), tmp_path)
    assert all("attention" in counts for counts in found["verdicts"].values())
    with pytest.raises(DataError, match="holds no pair"):
        SOURCES.build({"type": "mia_pairs", "path": str(tmp_path), "choice": "random"})


def test_exact_regions_and_refusals_are_built_too(model, tmp_path):
    found = build_mia(make(model, region="exact", refusals=2, layouts={"grid": {2: 2}, "pic_in_pic": {2: 2}}), tmp_path)
    assert found["questions"] == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layouts": {"sequence": {6: 1}}, "thresholds": None}, "must have one of"),
        ({"region": "exakt"}, "reference or exact"),
        ({"corruptions": {"grid": {"std": -1}}}, "std"),
    ],
)
def test_builds_that_cannot_be_are_refused(model, tmp_path, options, says):
    with pytest.raises(ConfigError, match=says):
        build_mia(make(model, **options), tmp_path)


def test_a_folder_of_other_pairs_and_a_folder_without_pairs_are_refused(model, tmp_path):
    build_mia(make(model, layouts={"sequence": {2: 1}}), tmp_path)
    with pytest.raises(ConfigError, match="another configuration"):
        build_mia(make(model, layouts={"sequence": {2: 2}}), tmp_path)
    with pytest.raises(DataError, match="write_dropped"):
        SOURCES.build({"type": "mia_pairs", "path": str(tmp_path), "choice": "random"})
    with pytest.raises(DataError, match="vlmzoo data mia"):
        SOURCES.build({"type": "mia_pairs", "path": str(tmp_path / "none")})


def test_arms_of_a_study_learn_from_pairs_of_their_start(tmp_path):
    benchmark = {"type": "conversations", "source": {**CARDS, "seed": 9}, "num_questions": 3, "max_new_tokens": 3}
    start = {
        "model": {"architecture": make_architecture()},
        "experience": {"type": "supervised", "source": {"type": "shape_cards", "card_px": 28}},
        "optim": {"learning_rate": 1e-3},
        "num_steps": 1,
        "micro_batch_size": 2,
        "deepspeed": "zero0",
        "report_to": [],
        "output_dir": str(tmp_path / "none"),
        "evaluation": {"single": benchmark},
    }
    arm = {
        **start,
        "model": {"architecture": make_architecture(), "adapters": [{"type": "lora", "rank": 2}]},
        "experience": {"type": "pairs", "source": {"type": "mia_pairs", "path": "none"}, "reference": "lora_off"},
        "objective": {"type": "preference"},
    }
    pairs = make("set/by the study").model_dump(mode="json")
    for name, values in {"start": start, "arm": arm, "pairs": pairs}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    values = {
        "start": {"run": str(tmp_path / "start.yaml")},
        "pairs": {"run": str(tmp_path / "pairs.yaml")},
        "arms": {"dpo": {"run": str(tmp_path / "arm.yaml")}},
        "comparisons": [["dpo", "start"]],
        "output_dir": str(tmp_path / "study"),
    }
    summary = study_run(check_config(values, schema=StudyConfig, origin="test"))
    assert summary is not None
    assert list((tmp_path / "study").rglob("pairs-*.jsonl"))
    told = (tmp_path / "study" / "pairs.md").read_text()
    assert all(f"| 0 | {kind} |" in told for kind in LAYOUTS)
    with pytest.raises(ConfigError, match="answered by the start"):
        study_run(check_config({**values, "start": None, "comparisons": []}, schema=StudyConfig, origin="test"))


def test_area_under_curve_counts_ties_half():
    assert area_under_curve([2.0, 3.0], [1.0]) == 1.0
    assert area_under_curve([1.0, 1.0], [1.0]) == 0.5
    assert area_under_curve([0.0, 2.0], [1.0, 1.0]) == 0.5
    assert area_under_curve([], [1.0]) is None
