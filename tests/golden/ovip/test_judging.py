"""OViP's judge: what its words are read as, by the authors' rule in their mode, and by ours otherwise."""

import json

from tests.golden.conftest import golden_folder
from vlmzoo.scoring.judging import read_score

GOLDEN = ("ovip", "judge_parsing.jsonl")


def test_the_authors_reading_in_their_mode(golden):
    content = golden.content
    expected = None if content["reference"] == "none" else float(content["reference"])
    assert read_score(content["text"], compat="reference") == expected


def test_ours_agrees_where_theirs_is_sound_and_never_leaves_the_range(golden):
    content = golden.content
    made, flaws = read_score(content["text"]), content["reference_flaws"]
    assert made is None or 0 <= made <= 10
    if any("out of the 0..10 range" in flaw for flaw in flaws):
        assert made is None
    if not flaws and content["reference"] != "none" and made is not None:
        assert made == content["reference"]


def test_ours_reads_most_of_what_is_sound():
    """It passes over what may be read in two ways, such as `3-4` or `[4].5`, and no more."""
    lines = (golden_folder(GOLDEN[0]) / GOLDEN[1]).read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    sound = [case for case in cases if not case["reference_flaws"] and case["reference"] != "none"]
    read = [case for case in sound if read_score(case["text"]) == case["reference"]]
    assert sound and len(read) >= 2 / 3 * len(sound)
