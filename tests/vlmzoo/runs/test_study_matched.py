"""Arms compared where they cover equally much, from what their runs left behind."""

import json

import pytest
import yaml

from tests.vlmzoo.runs.test_study import FROM_PICTURES
from tests.vlmzoo.runs.test_sweep import QUESTIONS, RUN, SIMPLE
from vlmzoo.config import RunConfig, StudyConfig
from vlmzoo.config.loading import check_config
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.records import Generation
from vlmzoo.runs import train_run
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.study import plan_study
from vlmzoo.runs.study_matched import matched_table
from vlmzoo.runs.study_summary import summarise_study

CAPTIONS = {"type": "icon_captions", "source": {"type": "icon_scenes", "canvas_px": 28}, "num_questions": 4}
RATIOS = {"captions": {"chair_i": ("wrong", "named"), "cover": ("right", "there")}}
NUM_QUESTIONS = 4


def leave_answers(folder, *, wrong, right):
    """Leave behind answers to four scenes of ten objects each, of which so many are named."""
    folder.mkdir(parents=True)
    rows = [
        Generation(
            id=str(number),
            prompt="?",
            completion="!",
            reference=[],
            scores={"wrong": wrong, "named": wrong + right, "right": right, "there": 10.0},
            num_prompt_tokens=1,
            num_completion_tokens=1,
            finished=True,
        )
        for number in range(NUM_QUESTIONS)
    ]
    (folder / "generations.jsonl").write_text("".join(json.dumps(row.to_dict()) + "\n" for row in rows))


def leave_run(root, points):
    """Leave behind a run of ``10 * (K - 1)`` steps with so many wrong and right objects along its way."""
    folder = RunFolder(root)
    *along, (wrong, right) = points
    leave_answers(folder.evaluation / "captions", wrong=wrong, right=right)
    scores = {"chair_i": wrong / (wrong + right), "cover": right / 10}
    told = {"captions": {name: {"mean": value} for name, value in scores.items()}}
    (folder.evaluation / "scores.json").write_text(json.dumps(told))
    for number, (wrong, right) in enumerate(along, start=1):
        leave_answers(folder.evaluation_at(10 * number) / "captions", wrong=wrong, right=right)
    folder.journal.write_text(json.dumps({"step": 10 * len(points), "loss": 0.0}) + "\n")
    return folder


def make_config(tmp_path, **options):
    path = tmp_path / "run.yaml"
    run = {**RUN, "experience": FROM_PICTURES, "evaluation": {"captions": CAPTIONS}, "evaluate_every": 1}
    path.write_text(yaml.safe_dump(run))
    values = {
        "start": {"run": str(path)},
        "arms": {"online": {"run": str(path)}, "offline": {"run": str(path)}},
        "comparisons": [["online", "offline"], ["online", "start"]],
        "matched": {"label": "captions", "score": "chair_i", "at": "cover"},
        "output_dir": str(tmp_path / "study"),
        **options,
    }
    return check_config(values, schema=StudyConfig, origin="test")


def test_a_study_tells_a_score_where_coverage_is_equal_and_ratios_with_intervals(tmp_path):
    finished = {
        ("start", 0): leave_run(tmp_path / "start", [(4.0, 8.0)]),
        ("online", 0): leave_run(tmp_path / "online", [(2.0, 7.0), (0.0, 5.0)]),
        ("offline", 0): leave_run(tmp_path / "offline", [(4.0, 7.5), (3.0, 7.0)]),
    }
    summary = summarise_study(make_config(tmp_path), finished, expected=3, ratios=RATIOS)
    (found,) = summary.matched
    assert found.arms == ("online", "offline") and found.match.coverage == pytest.approx(0.7)
    assert found.match.steps == pytest.approx((10, 20))
    assert found.match.difference.mean == pytest.approx(2 / 9 - 3 / 10) == found.by_seed[0]
    told = matched_table(summary.config.matched, summary.matched)
    assert "| online - offline | 0.700 | 0.222 (step 10) | 0.300 (step 20) | -0.078 (-0.078 – -0.078) |" in told
    assert told in summary.markdown()
    plain = next(one for one in summary.differences if one.arms == ("online", "offline") and one.score == "chair_i")
    assert plain.interval.mean == pytest.approx(0.0 - 0.3)
    summary.write(tmp_path)
    assert (
        json.loads((tmp_path / "summary.json").read_text())["matched"][0]["match"]["coverage"] == found.match.coverage
    )


def test_seeds_that_were_measured_at_other_steps_are_not_thrown_together(tmp_path):
    finished = {
        ("start", 0): leave_run(tmp_path / "start0", [(4.0, 8.0)]),
        ("start", 1): leave_run(tmp_path / "start1", [(4.0, 8.0)]),
        **{(arm, 0): leave_run(tmp_path / f"{arm}0", [(2.0, 7.0), (0.0, 5.0)]) for arm in ("online", "offline")},
        **{(arm, 1): leave_run(tmp_path / f"{arm}1", [(2.0, 7.0)]) for arm in ("online", "offline")},
    }
    with pytest.raises(DataError, match=r"seed 0: \[0, 10, 20\]; seed 1: \[0, 10\]"):
        summarise_study(make_config(tmp_path, seeds=[0, 1]), finished, expected=6, ratios=RATIOS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"matched": {"label": "captions", "score": "chair", "at": "cover"}}, "two of its ratios .*chair_i"),
        ({"matched": {"label": "other", "score": "chair_i", "at": "cover"}}, "names `other`"),
        ({"start": None, "comparisons": []}, "needs a `start`"),
        ({"arms": {"one": {"run": "reproduce/ovip-online", "overrides": ["evaluate_every=0"]}}}, "`evaluate_every`"),
    ],
)
def test_what_cannot_be_matched_is_refused_before_the_first_run(tmp_path, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        plan_study(make_config(tmp_path, **{"comparisons": [], **options}))


def test_a_run_that_is_evaluated_along_its_way_notices_nothing(tmp_path):
    values = {
        **RUN,
        "experience": FROM_PICTURES,
        "num_steps": 3,
        "evaluation": {"table": {**QUESTIONS, "task": SIMPLE, "kind": "image"}},
    }
    runs = [
        train_run(
            check_config(
                {**values, "evaluate_every": every, "output_dir": str(tmp_path / str(every))},
                schema=RunConfig,
                origin="test",
            )
        )
        for every in (0, 1)
    ]
    calm, measured = ([line["loss"] for line in read_journal(run.folder.journal)] for run in runs)
    assert calm == measured
    along = sorted((runs[1].folder.evaluation / "steps").iterdir())
    assert [path.name for path in along] == ["step-1", "step-2"]
    assert all((path / "table" / "generations.jsonl").is_file() for path in along)


def test_weights_that_are_split_over_ranks_are_not_evaluated_along_the_way(tmp_path):
    values = {
        **RUN,
        "experience": FROM_PICTURES,
        "deepspeed": "zero3",
        "evaluate_every": 1,
        "output_dir": str(tmp_path),
    }
    with pytest.raises(ConfigError, match="must be 0 under ZeRO-3"):
        train_run(check_config(values, schema=RunConfig, origin="test"))
