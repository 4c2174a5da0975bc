"""The task files for lmms-eval: every name in them exists, and the functions score as the library does."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from vlmzoo.data.sources import TINY

FOLDER = Path(__file__).resolve().parents[2] / "eval" / "lmms_eval" / "fgvqa"
ROWS = [json.loads(line) for line in (TINY / "twin" / "fgvqa" / "test.jsonl").read_text().splitlines()]
SUBSETS = ("twin", "ilias", "google_landmarks", "met", "cub", "inquire")


@pytest.fixture(scope="module")
def utils():
    spec = importlib.util.spec_from_file_location("fgvqa_utils", FOLDER / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loader(yaml.SafeLoader):
    """YAML with lmms-eval's functions, kept as names."""


Loader.add_constructor("!function", lambda loader, node: ("function", loader.construct_scalar(node)))


def read(path):
    content = yaml.load(path.read_text(), Loader=Loader)
    included = content.pop("include", None)
    return {**(read(FOLDER / included) if included else {}), **content}


def functions_in(node):
    if isinstance(node, tuple):
        return [node[1]]
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [name for value in values for name in functions_in(value)]


def test_every_task_names_functions_that_are_there(utils):
    group = read(FOLDER / "vlmzoo_fgvqa.yaml")
    assert group["task"] == [f"vlmzoo_fgvqa_{name}" for name in SUBSETS]
    for name in group["task"]:
        task = read(FOLDER / f"{name}.yaml")
        assert task["task"] == name and task["test_split"] == "test"
        for function in functions_in(task):
            module, attribute = function.split(".")
            assert module == "utils" and callable(getattr(utils, attribute))
        scored = {entry["metric"] for entry in task["metric_list"]}
        for row in ROWS:
            assert set(utils.process_results(row, ["<answer>1</answer>"])) <= scored


def test_answers_are_scored_under_the_published_rules_and_by_the_reward(utils):
    pair, count = ROWS[0], ROWS[2]
    published = utils.process_results(pair, ["I see no difference, so yes"])
    assert published["pairwise_total"] == published["overall_total"] == 1.0
    assert (published["rewarded"], published["parsed"]) == (0.0, 0.0)
    assert utils.process_results(count, ["<answer>1</answer>"])["multiple_choice_total"] == 1.0
    assert utils.process_results(count, [])["overall_total"] == 0.0
    assert utils.mean([1.0, 0.0]) == 0.5


def test_questions_and_images_are_those_of_the_data(utils, monkeypatch):
    monkeypatch.chdir(TINY / "twin" / "fgvqa")
    assert [image.mode for image in utils.doc_to_visual(ROWS[2])] == ["RGB"] * 4
    told = utils.doc_to_text(ROWS[0], {"pre_prompt": "", "post_prompt": " Now."})
    assert told == ROWS[0]["question"] + " Now."


def test_subsets_take_their_own_rows(utils):
    class Rows(list):
        def filter(self, keep):
            return Rows(row for row in self if keep(row))

    assert len(utils.cub(Rows(ROWS))) == 2 and len(utils.met(Rows(ROWS))) == 0
