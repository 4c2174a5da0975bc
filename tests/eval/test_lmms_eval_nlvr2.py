"""NLVR2 for lmms-eval: which rows it takes, what it shows, and how it scores."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

PATH = Path(__file__).resolve().parents[2] / "eval" / "lmms_eval" / "nlvr2" / "utils.py"


@pytest.fixture(scope="module")
def utils():
    spec = importlib.util.spec_from_file_location("nlvr2_utils", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_of_nlvr2_are_shown_with_their_pictures_and_scored_by_their_letter(utils):
    class Rows(list):
        def filter(self, keep):
            return Rows(row for row in self if keep(row))

    picture = Image.new("RGB", (2, 2))
    row = {"sub_task": "NLVR2_Mantis", "question": "<image> <image> True?", "answer": "A", "image_0": picture,
           "image_1": picture, "image_2": None}  # fmt: skip
    assert utils.nlvr2(Rows([row, {"sub_task": "RAVEN"}])) == [row]
    assert len(utils.pictures(row)) == 2 and utils.question(row) == row["question"]
    (turn,) = utils.messages(row)
    assert [block["type"] for block in turn["content"]] == ["image", "text", "image", "text"]
    said = ["A", "A. True", "B", "Both", ""]
    assert [utils.score(row, [one])["accuracy"] for one in said] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert utils.score(row, [])["accuracy"] == 0.0
    assert utils.mean([1.0, 0.0]) == 0.5 and utils.mean([]) != utils.mean([])
