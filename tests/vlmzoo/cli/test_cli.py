import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import vlmzoo
import vlmzoo.runs
from vlmzoo.cli import app, run_command
from vlmzoo.cli.doctor import extras_installed
from vlmzoo.zoo import list_models, load_card

RUN = """\
model: llava-1.5-7b
experience: {type: supervised, source: {type: shape_cards}}
optim: {learning_rate: 1e-3}
num_steps: 20
output_dir: runs/test
"""


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def make_file(folder, text=RUN):
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_without_a_command_the_commands_are_listed():
    output = run("--help").output
    for command in ("list", "info", "generate", "train", "eval", "data", "tiny", "doctor"):
        assert command in output


def test_configs_that_help_texts_name_are_there(repository):
    texts = "".join(path.read_text(encoding="utf-8") for path in (repository / "vlmzoo" / "cli").glob("*.py"))
    named = re.findall(r"e\.g\. ([a-z_]+/[\w/]+)", texts)
    assert named
    assert [name for name in named if not (repository / "configs" / f"{name}.yaml").is_file()] == []


def test_the_version_is_the_package_version():
    assert run("--version").stdout.strip() == vlmzoo.__version__


def test_list_names_every_model():
    output = run("list").stdout
    assert all(name in output for name in list_models())


@pytest.mark.parametrize(("columns", "has_licences"), [(80, False), (140, True)])
def test_a_terminal_shows_each_name_whole(columns, has_licences, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = run("list").stdout.splitlines()
    assert all(any(name in line and " B " in line for line in lines) for name in list_models())
    assert ("licence" in lines[0]) == has_licences


def test_list_matches_a_pattern():
    names = [info["name"] for info in json.loads(run("list", "llava-1.5-7?", "--json").stdout)]
    assert names == ["llava-1.5-7b"]
    assert "No model of the zoo matches `none*`." in run("list", "none*").stdout


def test_info_tells_what_is_known():
    output = run("info", "llava-1.5-7b").stdout
    assert "7,062.9 M" in output
    assert json.loads(run("info", "llava-1.5-7b", "--json").stdout)["image_tokens"] == 576


def test_an_error_is_a_sentence_on_stderr_and_exit_code_2():
    result = run("info", "lava-1.5-7b", code=2)
    assert result.stderr.startswith("error: There is no model named `lava-1.5-7b`. Did you mean `llava-1.5-7b`?")
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_script_shows_errors_the_same_way(capsys):
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: vlmzoo.model_info("lava-1.5-7b"))
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: There is no model named `lava-1.5-7b`.")
    run_command(lambda: vlmzoo.model_info("llava-1.5-7b"))


def test_debug_lets_the_error_through():
    result = CliRunner().invoke(app, ["--debug", "info", "lava-1.5-7b"])
    assert isinstance(result.exception, vlmzoo.zoo.RegistryError)


def test_a_dry_run_prints_the_resolved_config(tmp_path):
    output = run("train", make_file(tmp_path), "optim.learning_rate=1e-4", "--dry-run").stdout
    config = json.loads(output)
    assert config["optim"]["learning_rate"] == 1e-4
    assert config["objective"] == {"type": "next_token"}


def test_train_hands_the_checked_config_to_the_run(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(vlmzoo.runs, "train_run", trained.append)
    run("train", make_file(tmp_path), "num_steps=3")
    assert [config.num_steps for config in trained] == [3]


def test_eval_hands_the_checked_config_to_the_evaluation(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(vlmzoo.runs, "evaluate_run", lambda config, overwrite: measured.append(config))
    path = make_file(tmp_path, "model: a/b\nbenchmarks: {hard: {type: synthetic}}\noutput_dir: x\n")
    run("eval", path, "model=runs/mine/final")
    assert [config.model.path for config in measured] == ["runs/mine/final"]


def test_a_faulty_config_is_answered_with_all_its_faults(tmp_path):
    stderr = run("train", make_file(tmp_path), "num_stps=3", "optim.eps=-1", code=2).stderr
    assert "has 2 faults:" in stderr
    assert "Did you mean `num_steps`?" in stderr


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "llava"
    assert run("tiny", "llava-1.5-7b", "--out", folder).stdout.strip() == str(folder)
    return folder


def test_a_miniature_is_a_small_folder_that_loads(miniature):
    assert sum(path.stat().st_size for path in miniature.iterdir()) < 10e6
    model, processor = vlmzoo.load_model(miniature)
    assert model.num_image_tokens == processor.num_image_tokens == 16


def test_a_miniature_never_replaces_what_is_there(miniature):
    stderr = run("tiny", "llava-1.5-7b", "--out", miniature, code=2).stderr
    assert "`--out` must be a new or empty folder" in stderr


def test_a_question_about_pictures_is_answered(miniature, tmp_path):
    picture = tmp_path / "picture.png"
    Image.new("RGB", (30, 20), "red").save(picture)
    words = ("generate", miniature, "--prompt", "What?", "--max-new-tokens", 4, "--device", "cpu")
    answers = [run(*words, *images).stdout for images in ((), ("-i", picture), ("-i", picture, "-i", picture))]
    assert all(answer.endswith("\n") for answer in answers)


def test_a_missing_picture_is_named(miniature):
    stderr = run("generate", miniature, "-p", "What?", "-i", "no/such.png", code=2).stderr
    assert "no/such.png" in stderr


def test_a_model_of_the_zoo_answers_with_its_published_weights(tmp_path, monkeypatch):
    name, asked = "qwen2-vl-2b", []
    run("tiny", name, "--out", tmp_path / "published")

    def fetch(repo, revision=None):
        asked.append(repo)
        return tmp_path / "published"

    monkeypatch.setattr("vlmzoo.hub.download.fetch_model", fetch)
    words = ("-p", "What?", "--max-new-tokens", 4, "--device", "cpu")
    answers = [run("generate", model, *words).stdout for model in (name, tmp_path / "published")]
    assert answers[0] == answers[1]
    assert asked == [load_card(name).weights.repo]


def test_a_word_that_is_no_model_is_answered_with_the_nearest():
    stderr = run("generate", "lisa-7b-v2", "-p", "What?", code=2).stderr
    assert "`lisa-7b-v2` is no folder, no Hub id (owner/name) and no model of `vlmzoo list`." in stderr
    assert "Did you mean `lisa-7b-v1`?" in stderr


def test_a_missing_model_is_named():
    assert "`./nowhere` is no folder" in run("generate", "./nowhere", "-p", "What?", code=2).stderr


@pytest.mark.parametrize("path", ["runs/nowhere/final", "/nowhere", "EMPTY"])
def test_an_export_of_what_is_no_model_is_a_sentence(path, tmp_path):
    stderr = run("export", tmp_path if path == "EMPTY" else path, "--out", tmp_path / "out", code=2).stderr
    assert stderr.startswith("error: `") and ("is no folder and no Hub id" in stderr or "no config.json" in stderr)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_export_keeps_the_precision_that_it_finds(dtype, tmp_path):
    from safetensors.torch import load_file

    from tests.vlmzoo.adapters.bases import make_base
    from vlmzoo.checkpoint import save_model

    model = make_base("llava-llama").to(getattr(torch, dtype))
    save_model(model, model.processor, tmp_path / "model")
    run("export", tmp_path / "model", "--out", tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {f"torch.{dtype}"}


def test_verify_compares_names_and_shapes(tmp_path):
    from vlmzoo import build_model
    from vlmzoo.models.llava.keys import TABLES
    from vlmzoo.models.weights import shapes_of

    shapes = TABLES["llava"].dict_to_theirs(shapes_of(build_model("llava-1.5-7b", device="meta")))
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"shapes": {key: list(shape) for key, shape in shapes.items()}}))
    assert "0 missing" in run("verify", "llava-1.5-7b", "--keys", "--against", manifest).stdout
    shapes.pop("lm_head.weight")
    manifest.write_text(json.dumps({"shapes": {key: list(shape) for key, shape in shapes.items()}}))
    assert "lm_head.weight" in run("verify", "llava-1.5-7b", "--keys", "--against", manifest, code=1).stdout
    assert "`--keys` and `--against` go together" in run("verify", "llava-1.5-7b", "--keys", code=2).stderr


def test_data_are_written_as_files(tmp_path):
    words = ("data", "s2h", "--task", "consecutive_table_readout", "-n", 2, "--kinds", "text, image", "--out", tmp_path)
    written = run(*words).stdout.split()
    assert len(written) == 2
    assert [len(json.loads(Path(path).read_text())) for path in written] == [2, 2]
    assert len(list((tmp_path / "images").glob("*.png"))) == 2


def test_data_are_written_as_asked(tmp_path):
    options = ("num_rows=2", "num_cols=3", "path_cells=[2,4]", "image.cell_width=32", "image.cell_height=32")
    task = ("--task", "consecutive_table_readout", "style=compact", *options)
    asked = ("-n", 5, "--kinds", "image_via_text", "--cot-style", "template", "--keep", 0.5, "--seed", 3)
    files = ("--format", "webdataset", "--shard-size", 2, "--workers", 1, "--out", tmp_path)
    written = [Path(path) for path in run("data", "s2h", *task, *asked, *files).stdout.split()]
    assert [path.name for path in written] == [f"image_via_text+cot-template-keep0.5-00000{n}.tar" for n in range(3)]
    with tarfile.open(written[2]) as archive:
        record = json.load(archive.extractfile("00000004.json"))
        assert Image.open(archive.extractfile("00000004.png")).size == (128, 96)
    assert record["id"] == "consecutive_table_readout/simple/image_via_text/3/4"
    plain = run(
        "data", "s2h", *task, "-n", 1, "--kinds", "text", "--no-cot", "--out", tmp_path / "plain"
    ).stdout.strip()
    assert json.loads(Path(plain).read_text())[0]["conversations"][1]["value"].startswith("The total is")


@pytest.mark.parametrize(
    ("task", "words", "sentence"),
    [
        ("consecutive_table_readout", ["path_cells=[5,51]"], "from 1 to the 50 cells of the table, but is [5, 51]"),
        ("table_readout", ["num_rows=3"], "its paths (`paths`) need 7"),
        ("grid_navigation", ["num_rows=1"], "a destination needs room beside the start"),
        ("grid_navigation", ["num_rows=3", "num_cols=3", "num_objects=8"], "`num_objects` must be at most 7"),
        ("grid_navigation", ["num_rows=3", "num_cols=3", "num_states=[40,50]"], "none of 10000 grids of 3 x 3"),
        ("visual_analogy", ["--level", "medium"], "`level` must be one of `simple`, `hard`"),
        ("table_readout", ["num_row=8"], "takes no `num_row`. Did you mean `num_rows`?"),
        ("table_readout", ["num_rows"], "`num_rows` must be an override such as"),
        ("table_readout", ["num_rows", "y"], "The command line has 2 faults"),
        ("table_readout", ["--kinds", "txt"], "`kinds` must be different ones of text, image"),
        ("table_readout", ["--format", "tar"], "`format` must be one of `json`, `parquet`, `webdataset`"),
        ("table_readout", ["--keep", 2], "`keep` must be a share from 0 to 1, but is 2.0"),
        ("table_readout", ["--out", "/proc/self/status/data"], "`out_dir` must be a folder that can be written"),
    ],
)
def test_data_that_cannot_be_drawn_or_written_are_a_sentence(task, words, sentence, tmp_path):
    stderr = run("data", "s2h", "--task", task, "-n", 1, "--out", tmp_path / "new", *words, code=2).stderr
    assert sentence in stderr
    assert not (tmp_path / "new").exists()


def test_a_bench_is_one_json_line():
    output = run("data", "s2h", "--task", "consecutive_table_readout", "--level", "hard", "-n", 2, "--bench").stdout
    assert len(output.strip().splitlines()) == 1
    assert {"images_per_s", "written_per_s", "texts_per_s"} <= json.loads(output).keys()


@pytest.mark.parametrize("words", [(), ("--bench", "--out", "x")])
def test_data_are_either_written_or_measured(words):
    stderr = run("data", "s2h", "--task", "consecutive_table_readout", *words, code=2).stderr
    assert "Exactly one of `--out FOLDER` and `--bench` must be given." in stderr


def test_an_unknown_task_is_answered_with_the_nearest():
    stderr = run("data", "s2h", "--task", "consecutive_table_readot", "--bench", code=2).stderr
    assert "Did you mean `consecutive_table_readout`?" in stderr


def test_doctor_tells_versions_attention_and_tools():
    output = run("doctor").stdout
    for word in ("torch", "transformers", "cpu", "sdpa", "g++", "ninja"):
        assert word in output


def test_extras_are_read_from_the_metadata(monkeypatch):
    requirements = ["numpy>=1", 'numpy>=1; extra == "one"', 'no-such-package>=2; extra == "two"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requirements)
    assert extras_installed() == {"one": [], "two": ["no-such-package"]}


def test_help_does_not_wait_for_torch(fresh_python):
    code = "import sys, vlmzoo.cli; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    assert fresh_python(code) == "[]"


def test_the_entry_point_exits_with_2_on_an_error(repository):
    command = [sys.executable, "-c", "from vlmzoo.cli import main; main()", "info", "nothing"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: There is no model named `nothing`.")


def test_masks_are_saved_beside_the_answer(tmp_path):
    folder, picture, out = tmp_path / "lisa", tmp_path / "lamp.png", tmp_path / "masks"
    Image.new("RGB", (30, 20), "red").save(picture)
    run("tiny", "lisa-7b-v1", "--out", folder)
    words = ("generate", folder, "-p", "Please segment the lamp.", "--max-new-tokens", 4, "--device", "cpu")
    done = run(*words, "-i", picture, "--save-masks", out)
    assert done.stdout.splitlines()[-2:] == [str(out / "lamp.png"), str(out / "lamp.json")]
    told = json.loads((out / "lamp.json").read_text(encoding="utf-8"))
    assert bool(told["masks"]) != bool(told["reason"])
    assert told["reason"] in done.stderr
    assert Image.open(out / "lamp.png").size == (30, 20)
    assert "needs an `--image`" in run(*words, "--save-masks", out, code=2).stderr
