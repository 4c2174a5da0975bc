"""FGVQA's metric: what the released tasks read in a reply, and what they give for it."""

from vlmzoo.scoring.answer_tag import COUNTS, YES_NO, AnswerParser, is_pair

GOLDEN = ("twin", "fgvqa_metric*.jsonl")


def test_replies_are_read_and_scored_as_published(golden):
    case = golden.content
    parser = AnswerParser(labels=YES_NO if is_pair(case["question_type"]) else COUNTS, compat="fgvqa")
    assert parser.parse(case["prediction"]).value == case["parsed"]
    assert float(parser.agrees(case["prediction"], case["answer"])) == case["score"]
    assert ("pairwise_total" if is_pair(case["question_type"]) else "multiple_choice_total") == case["metric"]
