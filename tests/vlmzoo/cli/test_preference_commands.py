"""Commands about preference data write what other commands and libraries read, and say what is wrong."""

import json

import yaml
from typer.testing import CliRunner

from vlmzoo.cli import app
from vlmzoo.data.sources import SOURCES

CARDS = {"type": "shape_cards", "layouts": {"sequence": 1.0}, "rejected": True, "card_px": 28, "num_rows": 3}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_pairs_of_a_source_are_written_and_read_back(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump({"source": CARDS}))
    made = run("data", "pairs", spec, "--out", tmp_path / "pairs.jsonl")
    assert made.exit_code == 0, made.output
    assert "3 pairs" in made.output
    source = SOURCES.build({"type": "trl", "path": str(tmp_path / "pairs.jsonl")})
    assert source.size == 3
    assert source.sample(0).rejected == SOURCES.build(CARDS).sample(0).rejected


def test_multi_image_pairs_are_built_from_a_config(tmp_path):
    made = run("data", "mia", "tiny/mia_pairs", "max_new_tokens=2", "--out", tmp_path / "pairs")
    assert made.exit_code == 0, made.output
    told = json.loads(made.output[made.output.index("{") :])
    assert told["questions"] == sum(sum(found.values()) for found in told["verdicts"].values()) == 18
    assert (tmp_path / "pairs" / "report.json").is_file()


def test_a_reference_wants_a_run_that_learns_from_pairs(tmp_path):
    made = run("data", "reference", "tiny/quickstart", "model.pretrained=false", "--out", tmp_path / "file")
    assert made.exit_code != 0
    assert "must be of type pairs" in made.output


def test_the_answers_of_random_weights_are_taken_for_a_reference_only_where_they_are_asked_for(tmp_path):
    spec = tmp_path / "run.yaml"
    rest = {"optim": {"learning_rate": 1e-3}, "num_steps": 1, "output_dir": str(tmp_path / "run")}
    spec.write_text(yaml.safe_dump({"model": "llava-1.5-7b", "experience": {"type": "pairs", "source": CARDS}, **rest}))
    made = run("data", "reference", spec, "--out", tmp_path / "file")
    assert made.exit_code != 0
    assert "`pretrained: false` random ones" in made.output
    said = run("data", "reference", "tiny/preference", "experience.source.num_rows=2", "--out", tmp_path / "file")
    assert said.exit_code == 0, said.output
