"""OViP's choice of pairs from scores, exactly, in the mode of its code."""

from vlmzoo.scoring.selections.ovip_code import OvipCodeSelection
from vlmzoo.scoring.selections.ovip_paper import OvipPaperSelection

GOLDEN = ("ovip", "pair_selection.jsonl")
STRATEGIES = {"": False, "addtional": True}


def scores_of(content):
    return [None if score == "none" else score for score in content["scores"]]


def selection_of(content):
    return OvipCodeSelection(
        online_only=content["online_only"],
        extremes=content["online_only"] and STRATEGIES[content["online_only_strategy"]],
        max_pairs=3 if content["variant"] == "no_buffer_cap3" else None,
    )


def test_pairs_are_those_of_the_authors(golden):
    content = golden.content
    scores = scores_of(content)
    made = selection_of(content)(scores)
    told = [
        {
            "chosen": "ground_truth" if pair.chosen is None else pair.chosen,
            "rejected": pair.rejected,
            "chosen_score": pair.chosen_score,
            "rejected_score": pair.rejected_score,
        }
        for pair in made
    ]
    assert told == content["pairs"]
    outcome = "pairs" if made else "no_pairs" if any(score is not None for score in scores) else "no_valid_sample"
    assert outcome == content["outcome"]
    if "loss_multiplier" in content:
        assert content["loss_multiplier"] == float(bool(made))


def test_the_papers_rule_never_prefers_a_weak_answer_or_the_reference_to_a_good_one(golden):
    scores = scores_of(golden.content)
    best = max((score for score in scores if score is not None), default=None)
    for pair in OvipPaperSelection()(scores):
        assert pair.rejected_score == scores[pair.rejected] and pair.rejected_score <= 4
        if pair.chosen is None:
            assert best < 6
        else:
            assert pair.chosen_score >= 6 and pair.chosen_score - pair.rejected_score >= 3
