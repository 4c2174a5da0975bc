"""A study: the start before its arms, equal questions for all, and nothing done twice."""

import json

import pytest
import yaml

from tests.vlmzoo.runs.test_sweep import RUN, SIMPLE
from vlmzoo.config import StudyConfig
from vlmzoo.config.loading import check_config
from vlmzoo.errors import ConfigError
from vlmzoo.runs import study, study_run
from vlmzoo.runs.study import plan_study

FROM_PICTURES = {"type": "supervised", "source": {"type": "synthetic", "task": SIMPLE, "kinds": {"image": 1.0}}}


def make(tmp_path, **options):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**RUN, "experience": FROM_PICTURES}))
    values = {
        "start": {"run": str(path)},
        "arms": {
            "short": {"run": str(path), "overrides": ["num_steps=1"]},
            "long": {"run": str(path), "overrides": ["num_steps=3"]},
        },
        "seeds": [0, 1],
        "comparisons": [["long", "short"], ["long", "start"]],
        "journal": ["loss", "never_there"],
        "output_dir": str(tmp_path / "study"),
        **options,
    }
    return check_config(values, schema=StudyConfig, origin="test")


def test_the_start_comes_first_and_every_arm_begins_where_it_ends(tmp_path):
    runs = plan_study(make(tmp_path))
    assert [(run.arm, run.seed) for run in runs] == [
        (arm, seed) for seed in (0, 1) for arm in ("start", "short", "long")
    ]
    assert runs[0].config.model.architecture is not None
    assert [run.config.model.path for run in runs[4:]] == [f"{runs[3].config.output_dir}/final"] * 2
    assert [run.config.num_steps for run in runs[:3]] == [2, 1, 3]
    assert [run.config.seed for run in runs] == [0, 0, 0, 1, 1, 1]


def test_every_arm_is_loaded_with_its_own_options(tmp_path):
    own = ["model.attn_implementation=eager", "model.quantization=int8", "model.dtype=float32"]
    lora = "model.adapters=[roi, {type: lora, rank: 2, name: thin}]"
    parts = "model.parts={projector: runs/a, adapters.thin: runs/b, adapters.thinner: runs/c, adapters.roi.x: runs/d}"
    path = str(tmp_path / "run.yaml")
    arms = {"plain": {"run": path}, "own": {"run": path, "overrides": [*own, lora, parts]}}
    start, plain, changed = (
        run.config.model for run in plan_study(make(tmp_path, arms=arms, seeds=[0], comparisons=[]))
    )
    assert plain.path == changed.path and plain.path.endswith("start/seed0/final")
    assert plain.architecture is changed.architecture is None and start.architecture is not None
    assert (plain.attn_implementation, plain.quantization, plain.dtype) == (None, None, "auto")
    assert (changed.attn_implementation, changed.quantization, changed.dtype) == ("eager", "int8", "float32")
    assert changed.adapters == ["roi", {"type": "lora", "rank": 2, "name": "thin"}]
    assert list(changed.parts) == ["adapters.thin", "adapters.roi.x"]  # of others, the start has learned its own


def test_arms_of_another_start_are_other_runs(tmp_path):
    one, other = (
        plan_study(make(tmp_path, start={"run": str(tmp_path / "run.yaml"), "overrides": [f"num_steps={steps}"]}))
        for steps in (2, 3)
    )
    for before, after in zip(one[1:3], other[1:3], strict=True):
        assert before.config.output_dir == after.config.output_dir
        assert before.config != after.config


def test_without_a_start_every_arm_begins_as_its_run_says(tmp_path):
    runs = plan_study(make(tmp_path, start=None, comparisons=[]))
    assert [run.arm for run in runs] == ["short", "long"] * 2
    assert all(run.config.model.architecture is not None for run in runs)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"comparisons": [["long", "shrt"]]}, "one names `shrt`"),
        ({"start": None}, "`comparisons` must be of short, long, but one names `start`"),
        ({"seeds": [0, 0]}, "`seeds` must name each once"),
        ({"arms": {"start": {"run": "tiny/quickstart"}}, "comparisons": []}, "`arms` must not name one `start`"),
        ({"arms": {"other": {"run": "tiny/quickstart"}}, "comparisons": []}, "evaluated on the same labels"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_first_run(tmp_path, options, sentence):
    config = make(tmp_path, **options)
    with pytest.raises(ConfigError, match=sentence):
        study_run(config)
    assert not (tmp_path / "study").exists()


def test_a_study_trains_evaluates_and_compares_and_does_nothing_twice(tmp_path, monkeypatch):
    config = make(tmp_path, publish=str(tmp_path / "published.md"), notes=["A note."])
    summary = study_run(config)
    assert {(one.arm, one.seeds) for one in summary.scores} == {(arm, (0, 1)) for arm in ("start", "short", "long")}
    assert all(one.interval.num == 2 * 3 for one in summary.scores)
    assert [one.arms for one in summary.differences[:3:2]] == [("long", "short"), ("long", "start")]
    by_name = {(one.arm, one.label): one for one in summary.scores}
    difference = summary.differences[0]
    both = zip(by_name["long", difference.label].by_seed, by_name["short", difference.label].by_seed, strict=True)
    assert difference.by_seed == pytest.approx([one - other for one, other in both])
    assert set(summary.courses["long"]) == {"loss"}
    written = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert len(written["scores"]) == len(summary.scores)
    published = (tmp_path / "published.md").read_text()
    assert published == summary.markdown() and "6 of 6 runs" in published and "- A note." in published
    monkeypatch.setattr(study, "train_run", lambda run: pytest.fail("trained again"))
    assert study_run(config).scores == summary.scores


def test_a_study_that_is_stopped_says_so_and_goes_on(tmp_path, monkeypatch):
    from types import SimpleNamespace

    config = make(tmp_path, seeds=[0])
    monkeypatch.setattr(study, "train_run", lambda run: SimpleNamespace(summary={}))
    assert study_run(config) is None
