"""The graders of OViP's evaluation, each in its own mode, and ours beside them."""

import pytest

from vlmzoo.scoring import SCORES
from vlmzoo.scoring.hallucination import amber_f1, object_f1
from vlmzoo.scoring.judging import read_rating, read_score_pair
from vlmzoo.scoring.vqa_accuracy import normalise_answer

GOLDEN = ("ovip", "graders.jsonl")
CHOICES = ("cvbench", "mmstar", "realworldqa")


@pytest.mark.golden_cases(*CHOICES)
def test_choices_in_the_mode_of_each_grader(golden):
    content = golden.content
    score = SCORES.build({"type": "option_letter", "compat": content["kind"]})
    label = content["label"]
    reference = {"answer": label, "question": content["question"]} if content["kind"] == "realworldqa" else label
    assert bool(score(content["answer"], reference)) == content["reference"]


@pytest.mark.golden_cases(*CHOICES, where=lambda content: content["answer"] in ("Apple", "Dog", "Both A and B", ""))
def test_ours_takes_no_word_for_a_letter(golden):
    content = golden.content
    assert SCORES.build({"type": "option_letter"})(content["answer"], content["label"]) == 0


@pytest.mark.golden_cases("mmhal")
def test_ratings_of_mmhal(golden):
    content = golden.content
    read = [read_rating(text, compat="reference") for text in content["judge_outputs"]]
    scores = [0 if rating is None else rating for rating in read]  # theirs; ours leaves it out
    assert scores == content["scores"]
    assert sum(scores) / len(scores) == pytest.approx(content["average"], abs=1e-9)
    assert sum(s < 3 for s in scores) / len(scores) == pytest.approx(content["hallucination_rate"], abs=1e-9)
    informative = sum(s not in (0, 3) for s in scores) / len(scores)
    assert informative == pytest.approx(content["informativeness_rate"], abs=1e-9)
    ours = [read_rating(text) for text in content["judge_outputs"]]
    both = [(own, rating) for own, rating in zip(ours, read, strict=True) if own is not None and rating is not None]
    assert all(own == rating for own, rating in both)
    assert len(both) >= sum(rating is not None for rating in read) / 2


@pytest.mark.golden_cases("llavabench_parse")
def test_pairs_of_llava_bench(golden):
    content = golden.content
    made = read_score_pair(content["text"], compat="reference")
    assert list(made or (-1, -1)) == content["reference"]
    if made is not None and all(1 <= value <= 10 for value in made):
        assert read_score_pair(content["text"]) == made


@pytest.mark.golden_cases("textvqa")
def test_soft_accuracy_of_textvqa(golden):
    content = golden.content
    assert normalise_answer(content["prediction"]) == content["normalised"]
    made = SCORES.build({"type": "vqa_accuracy"})(content["prediction"], content["answers"])
    assert made == pytest.approx(content["reference"], abs=1e-9)


@pytest.mark.golden_cases("combined_f1")
def test_combined_f1(golden):
    content = golden.content
    amber, objects = content["amber"], content["objecthal"]
    assert amber_f1(amber["CHAIR"], amber["Cover"]) == pytest.approx(content["amber_f1"], abs=1e-9)
    made = object_f1(objects["object_correct"], objects["object_recall"])
    assert made == pytest.approx(content["objecthal_f1"], abs=1e-9)
