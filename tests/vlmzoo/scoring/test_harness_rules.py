"""Rules by hand; ``tests/interop/test_harness_rules.py`` holds them against the harnesses' own functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.scoring import harness_rules as rules
from vlmzoo.scoring.vqa_accuracy import VqaAccuracy

OPTIONS = {"A": "a red bus", "B": "a dog", "C": "two cats", "D": "nothing"}


@pytest.mark.parametrize(
    ("said", "lmms", "kit", "paper"),
    [
        ("Yes", "yes", "yes", "yes"),
        ("yes.", None, "yes", "yes"),
        ("No, there is not.", None, "no", "no"),
        ("There is not a dog.", None, None, "no"),
        ("There is a dog.", None, None, "yes"),
        ("Yes and no", None, None, "no"),
        ("I think so. no", None, "no", "yes"),
        ("NO", "no", "no", "yes"),
        ("", None, None, "yes"),
    ],
)
def test_yes_or_no_is_read_in_three_ways(said, lmms, kit, paper):
    found = [rule(said, "yes", {}) for rule in (rules.lmms_pope, rules.kit_yes_no, rules.paper_pope)]
    assert [one.read for one in found] == [lmms, kit, paper]
    assert [one.score for one in found] == [float(read == "yes") for read in (lmms, kit, paper)]


@pytest.mark.parametrize(
    ("said", "lmms", "kit", "paper"),
    [
        ("B", "B", "B", "B"),
        ("(B)", "B", "B", "B"),
        ("B. a dog", "B", "B", "B"),
        ("The answer is B", "B", "B", None),
        ("b", None, None, "B"),
        ("a dog", None, "B", "A"),
        ("A dog sits here, so the answer is (B)", "A", "B", "A"),
        ("Apple", "A", None, "A"),
        ("A or B", "A", None, "A"),
        ("Z", None, None, None),
        ("Cannot determine the answer", "C", None, "C"),
        ("B because it is plain to see on the left", "B", None, "B"),
        ("nothing at all that I can see, and neither a red bus nor a dog nor two cats were there", None, None, None),
        ("", None, None, None),
    ],
)
def test_letters_are_read_in_three_ways(said, lmms, kit, paper):
    found = [rule(said, "B", OPTIONS) for rule in (rules.lmms_choice, rules.kit_choice, rules.paper_mmstar)]
    assert [one.read for one in found] == [lmms, kit, paper]
    assert [one.score for one in found] == [float(read == "B") for read in (lmms, kit, paper)]


def test_people_s_answers_are_compared_in_two_normal_forms():
    answers = ["3.5."] * 4 + ["the dog's"] * 6
    assert rules.lmms_textvqa("Dog's", answers, {}).score == VqaAccuracy()("Dog's", answers) == 1.0
    assert rules.kit_textvqa("a dog's", answers, {}) == rules.Judged("dog's", 1.0)
    assert rules.kit_textvqa("1,000", ["1000"] * 10, {}).score == 1.0
    assert rules.lmms_textvqa("7.", ["7"] * 10, {}).score == 1.0
    assert rules.kit_textvqa("7.", ["7"] * 10, {}).score == 0.0  # a period behind a digit stays


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        ("T-shirt", (1, 1, 1)),
        ("t-shirt.", (1, 0, 1)),
        ("tshirt", (1, 0, 0)),
        (" t-shirt", (1, 1, 0)),
        ("shirt", (0, 0, 0)),
    ],
)
def test_equal_text_has_three_meanings(said, scores):
    found = (rules.lmms_gqa, rules.kit_gqa, rules.paper_gqa)
    assert tuple(rule(said, "t-shirt", {}).score for rule in found) == scores


@given(st.text(), st.sampled_from(["yes", "no", "A", ["a", "b"]]))
def test_no_answer_makes_a_rule_raise_or_leave_its_range(said, reference):
    for name in rules.__all__:
        rule = getattr(rules, name)
        if name not in ("Judged", "Rule"):
            assert 0 <= rule(said, reference, OPTIONS).score <= 1
