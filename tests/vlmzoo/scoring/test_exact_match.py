from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.scoring import SCORES
from vlmzoo.scoring.exact_match import ExactMatch


@given(st.text())
def test_a_text_matches_itself(text):
    assert ExactMatch()(text, text) == 1.0
    assert ExactMatch(strip=False, casefold=True)(text, text) == 1.0


@given(st.text(), st.text())
def test_the_order_of_the_two_does_not_matter(text, other):
    score = ExactMatch(casefold=True)
    assert score(text, other) == score(other, text)


def test_white_space_at_the_ends_is_ignored_unless_it_is_told_to_count():
    assert ExactMatch()(" yes\n", "yes") == 1.0
    assert ExactMatch(strip=False)(" yes\n", "yes") == 0.0


def test_case_counts_unless_it_is_told_not_to():
    assert ExactMatch()("Yes", "yes") == 0.0
    assert ExactMatch(casefold=True)("Yes", "yes") == 1.0


def test_a_reference_that_is_no_string_is_compared_as_it_prints():
    assert ExactMatch()("12", 12) == 1.0


def test_a_config_can_name_it():
    assert SCORES.build({"type": "exact_match", "casefold": True})("A", "a") == 1.0
