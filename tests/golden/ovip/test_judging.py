"""OViP's judge: what its words are read as, by the authors' rule in their mode, and by ours otherwise."""

from vlmzoo.scoring.judging import read_score

GOLDEN = ("ovip", "judge_parsing.jsonl")
ACCEPTS_WHAT_IS_NONE = ("out of the 0..10 range, accepted", "list number may be read as a score")


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
