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
    made = run("data", "reference", "tiny/quickstart", "--out", tmp_path / "file")
    assert made.exit_code != 0
    assert "must be of type pairs" in made.output
