import json
import subprocess

from vlmzoo.config import RunConfig, dump_resolved, load_config
from vlmzoo.config.resolved import find_commit, installed_versions


def make_config():
    return RunConfig.model_validate(
        {
            "model": {"name": "llava-1.5-7b"},
            "experience": {"type": "supervised", "weights": [1.0, 2.0e-5]},
            "optim": {"learning_rate": 1e-5, "part_learning_rates": {"projector": 2e-5}},
            "num_steps": 3,
            "output_dir": "runs/é",
        }
    )


def make_repository(folder):
    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)

    folder.mkdir()
    git("init")
    (folder / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    return folder.resolve()


def test_a_resolved_config_is_a_config_that_loads_to_an_equal_value(tmp_path):
    path = dump_resolved(make_config(), tmp_path / "new" / "folder")
    assert path.name == "config.resolved.json"
    assert load_config(path) == make_config()
    assert load_config(path, ["num_steps=4"]).num_steps == 4


def test_a_resolved_config_says_what_ran_it(tmp_path):
    content = json.loads(dump_resolved(make_config(), tmp_path, deepspeed={"stage": 2}).read_text())
    assert content["deepspeed"] == {"stage": 2}
    assert {"python", "torch", "transformers"} <= content["versions"].keys()
    assert content["schema"] == "RunConfig"
    assert [path.name for path in tmp_path.iterdir()] == ["config.resolved.json"]


def test_packages_that_are_not_installed_are_left_out(monkeypatch):
    monkeypatch.setattr("vlmzoo.config.resolved._PACKAGES", ("no-such-package", "numpy"))
    assert installed_versions().keys() == {"python", "numpy"}


def test_the_commit_of_a_checkout_is_found_and_marked_where_files_differ(tmp_path):
    folder = make_repository(tmp_path / "repository")
    commit = find_commit(folder)
    assert len(commit) == 40
    (folder / "file").write_text("2")
    assert find_commit(folder) == f"{commit}+changed"


def test_a_package_inside_the_repository_of_another_has_no_commit(tmp_path):
    folder = make_repository(tmp_path / "repository")
    (folder / "inner").mkdir()
    assert find_commit(folder / "inner") is None
    assert find_commit(tmp_path) is None
