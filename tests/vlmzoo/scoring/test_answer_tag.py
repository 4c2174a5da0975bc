import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError
from vlmzoo.scoring.answer_tag import COUNTS, YES_NO, AnswerParser, CountMatches, SameOrNot

TEXTS = st.lists(
    st.sampled_from(["<answer>", "</answer>", "<ANSWER>", "yes", "no", "2", " ", "\n", ".", "<", "\u017f"]) | st.text()
).map("".join)


@given(before=TEXTS, said=st.sampled_from(YES_NO), noise=st.text(alphabet=" .,!*\n", max_size=5))
def test_what_stands_in_the_last_pair_counts(before, said, noise):
    text = f"{before}</answer><answer>{noise}{said.upper()}{noise}</answer>"
    assert SameOrNot()(text, said) == 1.0
    assert SameOrNot()(text, "no" if said == "yes" else "yes") == 0.0


@given(TEXTS)
def test_no_text_makes_a_parser_raise_and_values_fit_their_status(text):
    for parser in (
        AnswerParser(),
        AnswerParser(labels=YES_NO, which="first", synonyms={"same": "yes"}),
        AnswerParser(labels=YES_NO, strict=True),
        AnswerParser(labels=YES_NO, compat="fgvqa"),
        AnswerParser(labels=COUNTS, compat="fgvqa"),
    ):
        found = parser.parse(text)
        if found.is_parsed:
            assert found.value and (not parser.labels or found.value in parser.labels)
        if found.status in ("missing", "unclosed"):
            assert found.value is None


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("<answer>Yes.</answer>", "yes", "ok"),
        ("yes", None, "missing"),
        (None, None, "missing"),
        ("<answer>yes", None, "unclosed"),
        ("<answer> . </answer>", None, "empty"),
        ("<answer>no</answer><answer>yes</answer>", "yes", "multiple"),
        ("<answer>maybe</answer>", "maybe", "not_in_labels"),
    ],
)
def test_the_status_says_what_was_found(text, value, status):
    found = AnswerParser(labels=YES_NO).parse(text)
    assert (found.value, found.status) == (value, status)


def test_the_first_pair_can_be_asked_for():
    assert AnswerParser(which="first").parse("<answer>no</answer><answer>yes</answer>").value == "no"


def test_strict_takes_labels_as_they_stand_and_tags_as_they_are_written():
    strict = AnswerParser(labels=YES_NO, strict=True)
    assert strict.parse("<answer> YES </answer>").value == "yes"
    assert strict.parse("<answer>y.e.s</answer>").status == "not_in_labels"
    assert strict.parse("<answer>y.e.s</answer>").value is None
    assert strict.parse("<an\u017fwer>yes</an\u017fwer>").status == "missing"
    assert AnswerParser(labels=YES_NO).parse("<an\u017fwer>yes</an\u017fwer>").value == "yes"


def test_synonyms_stand_for_labels_only_where_they_are_asked_for():
    assert SameOrNot()("<answer>same</answer>", "yes") == 0.0
    assert SameOrNot(synonyms={"same": "yes"})("<answer>Same!</answer>", "yes") == 1.0


def test_counts_have_labels_of_their_own():
    assert CountMatches()("<answer>2.</answer>", 2) == 1.0
    assert CountMatches().parse("<answer>4</answer>").status == "not_in_labels"


@pytest.mark.parametrize(
    "filler", [" ", "<answer>", "<answer> ", "\n", "no ", "</answer>", "1 ", "<answer>0", "\u2003"]
)
@pytest.mark.parametrize("labels", [YES_NO, COUNTS])
def test_a_megabyte_is_read_in_50_ms(filler, labels):
    text = "<answer>" + filler * (1_000_000 // len(filler))
    for parser in (
        AnswerParser(),
        AnswerParser(labels=labels, strict=True),
        AnswerParser(labels=labels, compat="fgvqa"),
    ):
        seconds = []
        for _ in range(3):
            started = time.process_time()
            parser.parse(text)
            seconds.append(time.process_time() - started)
        limit = 0.05 if filler == " " else 1.0  # a megabyte of tags is looked at one by one
        assert min(seconds) < limit


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"which": "middle"}, "`which`"),
        ({"compat": "virft"}, "`compat`"),
        ({"compat": "fgvqa", "labels": YES_NO, "strict": True}, "rules of its own"),
        ({"compat": "fgvqa", "labels": ("a", "b")}, "labels"),
        ({"strict": True}, "`strict`"),
        ({"labels": YES_NO, "synonyms": {"same": "ja"}}, "`synonyms`"),
    ],
)
def test_options_that_cannot_be_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        AnswerParser(**options)
