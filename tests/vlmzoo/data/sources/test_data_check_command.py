"""`vlmzoo data check`: a verdict that scripts can read, a table that people can, and a clean file."""

import json
import pickle
from fractions import Fraction
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.vlmzoo.data.sources.lisa_tree import draw_lisa_tree
from vlmzoo.cli.data_commands import data_check
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError, DataError

app = typer.Typer()
app.command()(data_check)

RUN = """\
model: llava-1.5-7b
experience: {type: supervised, source: {type: llava_json, path: PATH}}
optim: {learning_rate: 1e-3}
num_steps: 20
output_dir: runs/test
"""


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def record(id, image="a.png"):
    said = [{"from": "human", "value": "<image>\nq"}, {"from": "gpt", "value": "a"}]
    return {"id": id, "image": image, "conversations": said}


@pytest.fixture
def spec(write, folder):
    """A file that names data with one corrupt row of four."""
    path = write([record("a"), record("b", "none.png"), record("c", "b.png"), record("a")])
    file = folder / "spec.yaml"
    file.write_text(f"source: {{type: llava_json, path: {path}}}\n")
    return file


def test_the_table_tells_counts_and_the_first_faults(spec):
    output = run(spec, "--limit-fraction", 0.25).stdout
    for words in (
        "rows",
        "corrupt",
        "1 (25.00%; within the limit of 25.00%)",
        "missing image",
        "repeated ids",
        "1, `a`",
    ):
        assert words in output
    assert "Record 1" in output


@pytest.mark.parametrize(("limit", "code"), [(0.01, 1), (0.24, 1), (0.25, 0), (1, 0)])
def test_the_exit_code_is_1_where_too_many_rows_are_corrupt(spec, limit, code):
    found = json.loads(run(spec, "--json", "--limit-fraction", limit, code=code).stdout)
    assert (found["num_rows"], found["faults"], found["fault_fraction"]) == (4, {"missing image": 1}, 0.25)


@pytest.mark.parametrize("is_relative", [False, True])
def test_the_clean_file_holds_the_good_rows_as_they_were(spec, folder, is_relative):
    clean = folder / "new" / "clean.json"
    run(spec, "--write-clean", clean, *(["--relative"] if is_relative else []), code=1)
    source = SOURCES.build({"type": "llava_json", "path": str(clean)})
    before = SOURCES.build({"type": "llava_json", "path": str(folder / "data.json")})
    assert source.size == 3
    for found, position in zip(range(3), (0, 2, 3), strict=True):
        again, sample = source.sample(found), before.sample(position)
        assert (again.id, again.messages) == (sample.id, sample.messages)
        assert [image.resolve() for image in again.images] == [image.resolve() for image in sample.images]
    written = [Path(row["image"]) for row in json.loads(clean.read_text())]
    assert all(path.is_absolute() != is_relative for path in written)
    file = folder / "clean.yaml"
    file.write_text(f"source: {{type: llava_json, path: {clean}}}\n")
    run(file, "--limit-fraction", 0)


def test_the_config_of_a_run_names_its_data(spec, folder):
    (folder / "run.yaml").write_text(RUN.replace("PATH", str(folder / "data.json")))
    found = json.loads(run(folder / "run.yaml", "--json", code=1).stdout)
    assert found["num_rows"] == 4
    other = folder / "other.jsonl"
    other.write_text(json.dumps(record("x")) + "\n")
    found = json.loads(run(folder / "run.yaml", f"experience.source.path={other}", "--json").stdout)
    assert (found["num_rows"], found["num_faults"]) == (1, 0)
    assert json.loads(run(spec, f"source.path={other}", "-n", 1, "--json").stdout)["num_rows"] == 1


def test_no_checker_waits_for_torch(spec, fresh_python):
    code = f"""
import sys
from tests.vlmzoo.data.sources.lisa_tree import draw_lisa_tree
from vlmzoo.cli.data_commands import data_check
data_check({str(spec)!r}, limit_fraction=1.0, as_json=True)
print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    assert fresh_python(code).endswith("[]")


def test_nothing_that_is_there_is_written_over(spec, folder):
    result = CliRunner().invoke(app, [str(spec), "--write-clean", str(folder / "data.json")])
    assert isinstance(result.exception, ConfigError)
    assert "must name a new file" in str(result.exception)


def test_a_config_without_data_says_so(folder):
    (folder / "run.yaml").write_text(RUN.replace(", source: {type: llava_json, path: PATH}", ""))
    result = CliRunner().invoke(app, [str(folder / "run.yaml")])
    assert isinstance(result.exception, ConfigError)
    assert "must have a `source` to be checked, but has type" in str(result.exception)


def test_masks_are_counted_and_a_foreign_pickle_is_refused(tmp_path):
    root = draw_lisa_tree(tmp_path / "dataset")
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"source: {{type: refer_seg, root: {root}, rounds: 3}}", encoding="utf-8")
    assert "3, of which 1 are empty" in run(spec).output
    found = json.loads(run(spec, "--json").output)
    assert (found["num_masks"], found["num_empty_masks"]) == (3, 1)
    (root / "refer_seg" / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([Fraction(1, 2)]))
    result = CliRunner().invoke(app, [str(spec)])
    assert isinstance(result.exception, DataError)
    assert "names `fractions.Fraction`" in str(result.exception)
