import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.scoring import SCORES

ADDENDS = st.lists(st.integers(0, 9), min_size=1, max_size=12)
COT = "1\t3\tTinyTool\tMay\t4\n1\t4\tTinyTool\tJune\t0\n\n\n"
COMPACT = "1 3 Ann May 4\n1 4 Ann Jun 0\n"
TOTAL = "The total is 4 + 0 = 4.\n\nAnswer: 4"


def exact(completion, reference):
    return SCORES.build({"type": "table_exact_match"})(completion, reference)


def cot_exact(completion, reference):
    return SCORES.build({"type": "table_cot_exact_match"})(completion, reference)


@given(ADDENDS)
def test_right_addends_score_one_whatever_the_sum(addends):
    completion = f"The total is {' + '.join(map(str, addends))} = 999.\n\nAnswer: 999"
    assert exact(completion, ",".join(map(str, addends))) == 1.0
    assert exact(completion, addends) == 1.0


@given(ADDENDS, ADDENDS)
def test_other_addends_score_zero(addends, others):
    completion = f"The total is {' + '.join(map(str, addends))} = {sum(addends)}."
    assert exact(completion, others) == float(addends == others)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "Answer: 4",
        "The total is 4 + 0",  # no equals sign
        "The total is 4 + 0. So = 4 total is none",  # the last `total is` has no equals sign behind it
        "The total is 4 + 0 = 4. No: the total is 4 + 1 = 5.",  # the last one counts
        "The total is 4 + -0 = 4.",
        "The total is 4.0 + 0 = 4.",
        "The total is 40 = 40.",
        "The total is \u0664 + 0 = 4.",  # a digit, but not one of ours
    ],
)
def test_what_does_not_state_the_addends_scores_zero(completion):
    assert exact(completion, "4,0") == 0.0


def test_nothing_matches_an_empty_reference():
    assert exact("The total is = 0.", "") == 0.0
    assert cot_exact("", "") == 0.0


@pytest.mark.parametrize("enumeration", [COT, COMPACT], ids=["authors", "compact"])
def test_enumerated_values_are_compared_in_order(enumeration):
    assert cot_exact(enumeration + TOTAL, "4,0") == 1.0
    assert cot_exact(enumeration + TOTAL, "0,4") == 0.0
    assert cot_exact(enumeration, "4,0") == 1.0  # cut off before the total


def test_only_the_last_run_of_lines_before_the_total_counts():
    assert cot_exact("1\t1\tA\tMay\t7\n\nAgain:\n" + COT + TOTAL, "4,0") == 1.0
    assert cot_exact(COT + TOTAL + "\n1\t1\tA\tMay\t7\n", "4,0") == 1.0


@pytest.mark.parametrize("line", ["1\t3\tTinyTool\t4", "a\t3\tTinyTool\tMay\t4", "1 3 Ann May 4 5", " Ann 3 * 4 5"])
def test_a_broken_line_breaks_the_enumeration(line):
    assert cot_exact(line + "\n" + TOTAL, "4") == 0.0


@given(st.text(alphabet="total is=+\t\n 0123456789-.\u0664\x85", max_size=300))
def test_no_completion_raises(completion):
    for score in (exact, cot_exact):
        assert score(completion, "4,0") in (0.0, 1.0)
        assert score(completion, [4, 0]) in (0.0, 1.0)


@pytest.mark.parametrize(
    "piece", ["total is ", "9", "-", "1.", "=", "\t", "\n", "1\t1\ta\tb\t2\n", "1 1 a b 2\n", "total is 1 + 2 = "]
)
def test_long_completions_take_linear_time(piece):
    completion = piece * (1_000_000 // len(piece))
    start_s = time.perf_counter()
    exact(completion, "4,0")
    cot_exact(completion, "4,0")
    assert time.perf_counter() - start_s < 10  # a quadratic reader takes hours
