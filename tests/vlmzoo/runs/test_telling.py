"""Samples of a run: each benchmark is asked on its own, and all answers are written down."""

import json

from tests.vlmzoo.runs.test_sweep import QUESTIONS, RUN, SIMPLE
from vlmzoo.config import RunConfig
from vlmzoo.config.loading import check_config
from vlmzoo.runs import train_run


def test_a_benchmark_that_begins_the_answers_is_asked_beside_one_that_does_not(tmp_path):
    asked = {**QUESTIONS, "task": SIMPLE}
    values = {
        **RUN,
        "output_dir": str(tmp_path / "run"),
        "samples_every": 1,
        "evaluation": {
            "plain": {**asked, "kind": "image"},
            "begun": {**asked, "kind": "image_via_text", "force_conversion": True},
        },
    }
    run = train_run(check_config(values, schema=RunConfig, origin="test"))
    lines = [json.loads(line) for line in run.folder.samples.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1] * 4 + [2] * 4
    assert len({line["id"] for line in lines}) == 4
