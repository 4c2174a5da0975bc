"""Three rules on one file of answers: every disagreement has one cause, and the causes are the gap."""

import json
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.compare_scores import compare_scores, comparison_tables
from vlmzoo.evaluation.harness_tasks import HARNESS_TASKS, options_of
from vlmzoo.evaluation.records import Generation

OPTIONS = {"A": "a red bus", "B": "a dog"}


def make_answer(said, reference, number=0, **meta):
    return Generation(
        id=str(number), prompt="?", completion=said, reference=reference, scores={},
        num_prompt_tokens=1, num_completion_tokens=1, finished=True, meta=meta,
    )  # fmt: skip


def cause_of(task, said, reference, first, second, **meta):
    comparison = compare_scores([make_answer(said, reference, **meta)], task=task)
    (gap,) = [gap for gap in comparison.gaps if (gap.first, gap.second) == (first, second)]
    return [one.cause for one in gap.disagreements]


@pytest.mark.parametrize(
    ("task", "said", "reference", "rules", "cause"),
    [
        ("pope", "yes.", "yes", ("lmms-eval", "VLMEvalKit"), ["marks around the word"]),
        ("pope", "yes", "yes", ("lmms-eval", "VLMEvalKit"), []),
        ("pope", "Yes, there is one", "yes", ("lmms-eval", "VLMEvalKit"), ["words around the one answer"]),
        ("pope", "NO", "no", ("VLMEvalKit", "paper"), ["upper case"]),
        ("pope", "It is not there", "no", ("VLMEvalKit", "paper"), ["denied by `not`"]),
        ("pope", "yes or no", "no", ("VLMEvalKit", "paper"), ["both words"]),
        ("pope", "Perhaps", "yes", ("VLMEvalKit", "paper"), ["only paper reads an answer"]),
        ("mmstar", "b", "B", ("lmms-eval", "paper"), ["lower case"]),
        ("mmstar", "The answer is B", "B", ("lmms-eval", "paper"), ["words around the one letter"]),
        ("mmstar", "a dog", "B", ("lmms-eval", "VLMEvalKit"), ["the option in words"]),
        ("gqa", "red.", "red", ("lmms-eval", "VLMEvalKit"), ["a period at the end"]),
        ("gqa", "tshirt", "t-shirt", ("lmms-eval", "paper"), ["other marks"]),
        ("gqa", " red", "red", ("VLMEvalKit", "paper"), ["case or blanks"]),
        ("textvqa", "7.", ["7"] * 10, ("lmms-eval", "VLMEvalKit"), ["marks"]),
    ],
)
def test_a_cause_is_the_smallest_change_that_ends_the_disagreement(task, said, reference, rules, cause):
    assert cause_of(task, said, reference, *rules, **OPTIONS) == cause


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["yes", "No", "not", ".", ",", "it is", "NO", "A"]), max_size=5).map(" ".join),
            st.sampled_from(["yes", "no"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_causes_add_up_to_the_gap_exactly(rows):
    comparison = compare_scores([make_answer(*row, n) for n, row in enumerate(rows)], task="pope")
    for gap in comparison.gaps:
        assert sum((cause.share for cause in gap.causes.values()), Fraction(0)) == gap.value
        assert gap.value == comparison.means[gap.first] - comparison.means[gap.second]
        assert sum(cause.num for cause in gap.causes.values()) == len(gap.disagreements)


@given(st.lists(st.sampled_from(["7", "7.", "seven", "a 7", "7,0", "70", ""]), min_size=1, max_size=9))
def test_soft_scores_add_up_exactly_too(said):
    people = ["7"] * 2 + ["7."] * 3 + ["70"] * 5
    comparison = compare_scores([make_answer(text, people, n) for n, text in enumerate(said)], task="textvqa")
    for gap in comparison.gaps:
        assert sum((cause.share for cause in gap.causes.values()), Fraction(0)) == gap.value
        assert gap.value == comparison.means[gap.first] - comparison.means[gap.second]


def test_a_file_is_compared_from_the_command_line(tmp_path, monkeypatch, capsys):
    said = ["yes", "yes.", "Yes, a dog", "no"]
    path = tmp_path / "generations.jsonl"
    path.write_text("".join(json.dumps(make_answer(s, "yes", n).to_dict()) + "\n" for n, s in enumerate(said)))
    script = Path(__file__).parents[3] / "eval" / "compare_scores.py"
    monkeypatch.setattr(sys, "argv", ["compare_scores.py", str(path), "task=pope"])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        assert not end.code
    told = json.loads((tmp_path / "compare_pope.json").read_text())
    assert told["means"]["lmms-eval"] == {"value": 0.25, "exactly": "1/4"}
    assert told["means"]["VLMEvalKit"] == {"value": 0.75, "exactly": "3/4"}
    assert told["num_unread"] == {"lmms-eval": 2, "VLMEvalKit": 0, "paper": 0}
    gap = told["gaps"][0]
    assert (gap["first"], gap["second"], gap["gap"]["exactly"]) == ("lmms-eval", "VLMEvalKit", "-1/2")
    assert {name: cause["share"]["exactly"] for name, cause in gap["causes"].items()} == {
        "marks around the word": "-1/4",
        "words around the one answer": "-1/4",
    }
    rows = [json.loads(line) for line in (tmp_path / "compare_pope.jsonl").read_text().splitlines()]
    assert rows[0]["lmms-eval"] == {"read": None, "score": 0.0} and rows[0]["VLMEvalKit"]["read"] == "yes"
    assert "lmms-eval minus VLMEvalKit" in capsys.readouterr().out


def test_a_wrong_command_line_says_what_is_wanted(monkeypatch, capsys):
    script = Path(__file__).parents[3] / "eval" / "compare_scores.py"
    monkeypatch.setattr(sys, "argv", ["compare_scores.py", "a.jsonl"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(script), run_name="__main__")
    assert "Give one generations.jsonl, `task=NAME`" in capsys.readouterr().err


def test_options_are_found_where_tables_and_lists_have_them():
    assert options_of(make_answer("", "A", options=["x", "y"])) == {"A": "x", "B": "y"}
    assert options_of(make_answer("", "A", options={"A": "x"})) == {"A": "x"}
    assert options_of(make_answer("", "A", B="y", A="x", category="z", C=None)) == {"A": "x", "B": "y"}
    with pytest.raises(DataError, match="`meta` of question `0` must have its options"):
        compare_scores([make_answer("A", "A")], task="mmstar")


def test_a_list_that_was_written_as_text_is_a_list():
    written, listed = (
        compare_scores([make_answer("red", r)], task="textvqa") for r in (str(["red"] * 10), ["red"] * 10)
    )
    assert written.means == listed.means == dict.fromkeys(("lmms-eval", "VLMEvalKit", "paper"), Fraction(1))
    assert compare_scores([make_answer("[x", "[x]")], task="gqa").means["lmms-eval"] == 1


def test_unknown_tasks_and_empty_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="`task` must be one of pope, mmstar, textvqa, gqa, but is `pop`"):
        compare_scores([make_answer("a", "a")], task="pop")
    with pytest.raises(DataError, match="must hold at least one answer"):
        compare_scores(tmp_path / "missing.jsonl", task="pope")


def test_every_task_says_where_its_rules_come_from():
    for task in HARNESS_TASKS.values():
        assert set(task.rules) == set(task.sources) and all(task.sources.values()) and task.repairs


def test_the_tables_show_scores_and_causes():
    console = Console(record=True, width=100)
    for table in comparison_tables(compare_scores([make_answer("yes.", "yes")], task="pope")):
        console.print(table)
    text = console.export_text()
    assert "marks around the word" in text and "-1.0000" in text
