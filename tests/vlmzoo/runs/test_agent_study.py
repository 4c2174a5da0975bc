"""A study of a fast-and-slow agent: what it says of answers, and that it trains, measures and goes on."""

import json

import pytest

from vlmzoo.config import AgentStudyConfig
from vlmzoo.config.loading import check_config
from vlmzoo.errors import ConfigError
from vlmzoo.runs.agent_study import agent_study_run, plan_agent_study
from vlmzoo.runs.agent_summary import summarise_agent

STAGES = {"switch": {"run": "reproduce/fast-switch"}, "search": {"run": "reproduce/fast-search"}}
SMALL = ["num_steps=2", "micro_batch_size=2", "experience.keep_rows=0", "experience.source.size=8"]


def make_config(tmp_path, **changes):
    values = {"stages": STAGES, "num_rooms": 2, "output_dir": str(tmp_path / "study"), **changes}
    return check_config(values, schema=AgentStudyConfig, origin="test")


def make_answer(score, tokens, **search):
    return {"score": score, "cost": {"lm_tokens": tokens, "images": 1.0, "calls": 1.0, "seconds": 0.1}, **search}


def make_rows(number=10):
    """Tiny targets are refused and found, large ones are answered; of each kind one goes wrong."""
    rows = []
    for index in range(number):
        is_odd = float(index == 0)
        search = {"iou": 0.8 - is_odd, "is_hit": True, "num_patches": 6, "path_length": 6}
        tiny = {"fast": make_answer(0.0, 20.0), "slow": make_answer(1.0 - is_odd, 500.0, **search)}
        tiny["random"] = make_answer(1.0 - is_odd, 900.0, **{**search, "num_patches": 12})
        large = {"fast": make_answer(1.0 - is_odd, 20.0), "slow": make_answer(1.0, 100.0, **search)}
        rows += [
            {"size": "tiny", "index": index, "is_refused": index > 0, "confidence": 0.1 * index, **tiny},
            {"size": "large", "index": index, "is_refused": False, "confidence": 0.9, **large},
        ]
    return rows


def test_a_summary_says_what_each_way_to_decide_comes_to(tmp_path):
    summary = summarise_agent(make_config(tmp_path), {0: make_rows()})
    mean = {key: interval.mean for key, interval in summary.scores.items()}
    assert mean["tiny", "fast"] == 0.0 and mean["tiny", "slow"] == pytest.approx(0.9)
    assert mean["tiny", "switch"] == pytest.approx(0.9) and mean["large", "switch"] == pytest.approx(0.9)
    assert mean["both", "oracle"] == pytest.approx(0.95)
    assert summary.costs["both", "slow"][0] == pytest.approx(300.0)
    assert summary.costs["both", "switch"][0] == pytest.approx((9 * 500 + 11 * 20) / 20)
    assert summary.refusals == {"precision": 1.0, "recall": 0.9}
    assert summary.differences["tiny: always looking - at a glance"][0].mean == pytest.approx(0.9)
    assert summary.searches["random"]["patches"].mean == 12
    assert ("large", "random") not in summary.scores
    summary.write(tmp_path)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["scores"]["tiny/slow"]["mean"] == pytest.approx(0.9)
    page = (tmp_path / "summary.md").read_text()
    assert "| tiny: always looking - at a glance | ≥ +0.35 | +0.900" in page and (tmp_path / "curve.png").is_file()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stages": {"switch": STAGES["switch"]}}, "`stages` must be switch and search, but are switch"),
        ({"seeds": [1, 1]}, "`seeds` must name each once"),
        ({"rooms": {"at_home": 3}}, "`at_home` must be within"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_begins(tmp_path, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        plan_agent_study(make_config(tmp_path, **changes))


@pytest.mark.slow
def test_a_study_trains_measures_and_goes_on(tmp_path, monkeypatch):
    stages = {name: {**stage, "overrides": SMALL} for name, stage in STAGES.items()}
    vstar = {"smallest_size": 128, "max_new_tokens": 6}
    publish = tmp_path / "docs" / "fast-study.md"
    config = make_config(tmp_path, stages=stages, vstar=vstar, publish=str(publish))
    summary = agent_study_run(config)
    assert summary is not None and len(summary.curve) >= 1
    assert "strip.png" in publish.read_text() and publish.with_name("fast-study-strip.png").is_file()
    answers = tmp_path / "study" / "answers-seed0.jsonl"
    lines = answers.read_text().splitlines(keepends=True)
    assert len(lines) == 4
    answers.write_text("".join(lines[:3]))  # as a kill leaves it
    again = agent_study_run(config)
    assert again is not None and len(answers.read_text().splitlines()) == 4
    assert {key: one.mean for key, one in again.scores.items()} == {
        key: one.mean for key, one in summary.scores.items()
    }
