"""What a refusal misses: the authors' rule, and a patient one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.refusals import missing_objects, refusal_of

SENTENCE = refusal_of([]).removesuffix(" .")
names = st.lists(
    st.text(alphabet="bcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8).filter(lambda name: name != "the"),
    min_size=1,
    max_size=25,
    unique=True,
)


@given(names)
def test_both_ways_read_what_was_written(found):
    assert missing_objects(refusal_of(found), strict=True) == found
    assert missing_objects(refusal_of(found)) == found


@given(st.text())
def test_any_text_is_read(text):
    for strict in (True, False):
        assert missing_objects(text, strict=strict) is None or SENTENCE.split()[0].lower() in text.lower()


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (" the red flag and a cup.", ["red flag", "cup"]),
        ('\n1. "flag"\n2. cup (left)\n', ["flag", "cup (left)"]),
        (" flag, Flag, FLAG; cup or pole!", ["flag", "cup", "pole"]),
        (" a.b*c[d](e) .", ["a.b*c[d](e)"]),
        (" ", []),
        (" sand castle, handbag, order form.", ["sand castle", "handbag", "order form"]),
    ],
)
def test_the_patient_way(tail, found):
    assert missing_objects(SENTENCE + tail) == found
    assert missing_objects(SENTENCE.upper().rstrip(":") + tail) == found
    assert missing_objects("It is red.") is None


def test_the_strict_way_is_the_authors():
    assert missing_objects(SENTENCE + " the red flag and a cup.", strict=True) == ["the red flag and a cup"]
    assert missing_objects(SENTENCE.upper() + " cup.", strict=True) is None
    assert missing_objects("Well. " + SENTENCE + " cup, ball..", strict=True) == ["cup", "ball."]
