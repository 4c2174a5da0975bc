"""Visual-RFT's rewards: the right value on every row, and the released code's own where it is not a fault."""

import math

import pytest

from vlmzoo.scoring import SCORES

GOLDEN = ("virft", "rewards_*.jsonl")

NAMES = {
    ("detection", "iou"): "iou",
    ("detection", "confidence"): "confidence",
    ("classification", "accuracy"): "class_exact",
    ("grounding", "accuracy"): "grounding",
}


def score(case, name, **options):
    own = NAMES.get((case["task"], name), "format_think_answer")
    return SCORES.build({"type": own, **options})(case["completion"], case["solution"])


def test_rewards_are_right(golden):
    case = golden.content
    for name, expected in case["expected"].items():
        assert score(case, name) == pytest.approx(expected, abs=1e-9), name
    if case.get("alt_iou_mean_over_predictions") is not None:
        assert score(case, "iou", denominator="pred") == pytest.approx(case["alt_iou_mean_over_predictions"], abs=1e-9)
    if "expected_contains" in case:
        contains = SCORES.build({"type": "class_contains"})
        assert contains(case["completion"], case["solution"]) == case["expected_contains"]


def test_published_rules_are_kept_for_those_who_compare(golden):
    case = golden.content
    for name, theirs in case["reference_no_symbolic"].items():
        found = score(case, name, compat="virft")
        assert math.isfinite(found)
        if case["kind"] in ("ok", "policy"):
            assert found == pytest.approx(theirs, abs=1e-9), name


def test_the_shortcut_of_the_released_code_can_be_shown(golden):
    """Its verifier gives 1 where the first box's upper edge is right, wherever the box lies."""
    case = golden.content
    if case["tag"].startswith("symbolic_y1_match"):
        for name in ("iou", "confidence"):
            assert score(case, name, compat="virft_released") == case["reference"][name] == 1.0
            assert case["expected"][name] < 1.0
