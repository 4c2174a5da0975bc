"""Post-selection drops what it says, and counts it."""

import pytest

from vlmzoo.data.mia.selection import Candidate, PostSelection, Thresholds, greedy_perplexity, same_answer
from vlmzoo.errors import ConfigError


def make_candidate(**changes):
    values = {
        "kind": "sequence",
        "num_images": 2,
        "ratio": 0.3,
        "perplexity": 2.0,
        "chosen": "a red circle",
        "rejected": "a blue square",
    }
    return Candidate(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"ratio": 0.81}, "attention"),
        ({"ratio": float("nan")}, "attention"),
        ({"rejected": "  "}, "empty"),
        ({"rejected": "A  red circle "}, "same answer"),
        ({"perplexity": 1.1}, "too certain"),
        ({"perplexity": 20.0}, "too uncertain"),
        ({"perplexity": float("nan")}, "too certain"),
        ({"rejected": "x" * 49}, "length ratio"),
        ({"chosen": "no", "rejected": "yes, it is one"}, None),  # short answers are not compared in length
        ({"rejected": "a red circles"}, "edit distance"),
    ],
)
def test_the_first_filter_that_drops_is_named(changes, reason):
    assert PostSelection().reason(make_candidate(**changes)) == reason


def test_report_counts_by_layout_and_filter():
    selection = PostSelection()
    kept = [selection.keeps(make_candidate(ratio=ratio)) for ratio in (0.1, 0.9, 0.2)]
    kept.append(selection.keeps(make_candidate(kind="pic_in_pic", rejected="")))
    assert kept == [True, False, True, False]
    assert selection.report() == {
        "sequence": {"kept": 2, "attention": 1},
        "pic_in_pic": {"kept": 0, "empty": 1},
    }


def test_a_count_without_a_threshold_is_refused_beforehand():
    with pytest.raises(ConfigError, match=r"one of \[2, 3, 4, 5\] images"):
        Thresholds.published().require("sequence", 7)


@pytest.mark.parametrize(
    "limits",
    [
        {"mosaic": {"rule": "below", "limits": {}}},
        {"grid": {"rule": "under", "limits": {}}},
        {"grid": {"rule": "below", "limits": {2: 1.5}}},
    ],
)
def test_faulty_thresholds_are_refused(limits):
    with pytest.raises(ConfigError):
        Thresholds(limits=limits)


def test_certainty_has_a_perplexity_of_one():
    assert greedy_perplexity([0.0, 0.0]) == 1.0


def test_blanks_and_capitals_make_no_other_answer():
    assert same_answer(" A  cat\n", "a cat")
    assert not same_answer("a cat", "a bat")
