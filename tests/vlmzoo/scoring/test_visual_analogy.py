import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.scoring import SCORES

ANSWER = """Example 1: (shape size, XOR)
Example 2: (shape position, XOR)
Option 1: (shape color, AND), not consistent
Option 2: (shape position, OR), not consistent
Option 3: (shape position, AND), not consistent
Option 4: (shape position, XOR), consistent

Answer: 4"""
CHAIN = "We first analyze the examples:\nExample 1:\ntype:\nImage 1: circle\nExample 2:\nNo pattern.\n\n\n"


def exact(completion, reference=ANSWER):
    return SCORES.build({"type": "analogy_exact_match"})(completion, reference)


def partial(completion, reference=ANSWER):
    return SCORES.build({"type": "analogy_partial_score"})(completion, reference)


@pytest.mark.parametrize("completion", [ANSWER, CHAIN + ANSWER, f"\n {ANSWER} \n", ANSWER.replace(": (", ":(", 1)])
def test_the_right_block_scores_one(completion):
    assert exact(completion) == partial(completion) == 1.0


def test_a_reference_may_be_a_whole_response():
    assert exact(ANSWER, CHAIN + ANSWER) == partial(ANSWER, CHAIN + ANSWER) == 1.0


@given(st.integers(len("Example 1:"), len(ANSWER) - 1), st.sampled_from("abcX1234"))
def test_a_changed_letter_scores_zero(place, letter):
    changed = ANSWER[:place] + letter + ANSWER[place + 1 :]
    assert exact(changed) == float(changed == ANSWER)


@given(st.integers(0, 3), st.integers(0, 3))
def test_the_choice_is_the_number_and_the_verdicts(right, other):
    def answer(number):
        verdicts = ["consistent" if index == number else "not consistent" for index in range(4)]
        lines = [f"Option {index + 1}: (line type, OR), {verdict}" for index, verdict in enumerate(verdicts)]
        return "\n".join(["Example 1: (line type, OR)", *lines, "", f"Answer: {number + 1}"])

    assert partial(answer(right), answer(other)) == float(right == other)


def test_attributes_and_relations_are_not_part_of_the_choice():
    changed = ANSWER.replace("XOR", "OR").replace("color", "size")
    assert (exact(changed), partial(changed)) == (0.0, 1.0)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "Answer: 4",
        CHAIN,
        CHAIN + "Answer: 4",
        ANSWER.replace("Answer: 4", "Answer: 3"),
        ANSWER.replace("Answer: 4", ""),
        ANSWER.replace("(shape position, OR), not consistent", "(shape position, OR), consistent"),
        ANSWER.replace("(shape position, XOR), consistent", "(shape position, XOR), not consistent"),
        re.sub("Option 2.*\n", "", ANSWER),
        ANSWER + "\n\nExample 1: none",  # the last block counts
        ANSWER.replace("Example 1:", "Example one:"),
    ],
)
def test_another_choice_scores_zero(completion):
    assert exact(completion) == partial(completion) == 0.0


def test_nothing_matches_an_empty_reference():
    assert exact("", "") == partial("", "") == exact(ANSWER, "") == partial(ANSWER, "") == 0.0


@given(st.text(alphabet="Example 1:Option, consistent not Answer(\n\u0664)", max_size=300))
def test_no_completion_raises(completion):
    for score in (exact, partial):
        assert score(completion) in (0.0, 1.0)
        assert score("Example 1:" + completion) in (0.0, 1.0)


@pytest.mark.parametrize(
    "piece", ["Example 1:", "Option 1: ", "Option 1:, consistent\n", ", not consistent", "Answer: 1\n", "\n", "9"]
)
def test_long_completions_take_linear_time(piece):
    completion = "Example 1:" + piece * (1_000_000 // len(piece))
    start_s = time.perf_counter()
    exact(completion)
    partial(completion)
    assert time.perf_counter() - start_s < 10  # a quadratic reader takes hours
