"""AMBER's figures to the digit in the script's mode, and what ours says of the same answers."""

import pytest

from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks.amber import numbers_of
from vlmzoo.evaluation.records import Generation
from vlmzoo.scoring.amber import AmberVocabulary, amber_discriminative, amber_generative, count_mentions
from vlmzoo.scoring.hallucination import amber_f1

GOLDEN = ("ovip", "amber_metrics.jsonl")
NAMES = {"CHAIR": "chair", "Cover": "cover", "Hal": "hal", "Cog": "cog"}
GROUPS = {"Descriminative Task": "all", "Exsitence": "existence"}


def similarity_of(table):
    def similarity(word, other):
        return 1.0 if word == other else table.get(f"{word}|{other}", table.get(f"{other}|{word}", 0.0))

    return similarity


def wholes_of(content):
    """What each score divides by."""
    counts = counts_of(content, None)
    names = {"chair": "mentions", "cover": "truth", "cog": "likely"}
    return {name: sum(getattr(one, field) for one in counts) for name, field in names.items()} | {"hal": len(counts)}


def summary_of(name, counts):
    benchmark = BENCHMARKS.build({"type": name, **BENCHMARKS.entry(name).tiny})
    told = [
        Generation(id=str(number), prompt="", completion="", reference=None, scores=dict(one), num_prompt_tokens=1,
                   num_completion_tokens=1, finished=True)
        for number, one in enumerate(counts)
    ]  # fmt: skip
    return {name: interval.mean for name, interval in benchmark.summarise(told, seed=0).items()}


def counts_of(content, compat):
    vocabulary = AmberVocabulary(
        association=content["association"],
        safe_words=content["global_safe_words"],
        similarity=similarity_of(content["similarity"]),
        threshold=content["similarity_threshold"],
        compat=compat,
    )
    return [
        count_mentions(nouns, truth=known["truth"], likely=known["hallu"], vocabulary=vocabulary)
        for nouns, known in zip(content["nouns"], content["annotations"], strict=True)
    ]


@pytest.mark.golden_cases("amber_generative")
def test_generative(golden):
    content = golden.content
    made = amber_generative(counts_of(content, "reference"), compat="reference")
    assert made == {NAMES[name]: value for name, value in content["reference"].items()}


@pytest.mark.golden_cases("amber_generative")
def test_ours_divides_by_what_is_there(golden):
    content = golden.content
    theirs, ours = content["reference"], amber_generative(counts_of(content, None))
    assert ours["cover"] == pytest.approx(theirs["Cover"], abs=0.2)
    assert all(0 <= value <= 100 for value in ours.values())
    assert set(ours) == {name for name, whole in wholes_of(content).items() if whole}


@pytest.mark.golden_cases("amber_generative")
def test_the_benchmark_says_what_the_scores_say(golden):
    counts = counts_of(golden.content, None)
    told = summary_of("amber_generative", [numbers_of(one) for one in counts])
    ours = amber_generative(counts)
    assert {name: 100 * told[name] for name in ours} == pytest.approx(ours, abs=1e-9)
    if {"chair", "cover"} <= set(ours):
        assert 100 * told["amber_f1"] == pytest.approx(amber_f1(ours["chair"], ours["cover"]), abs=1e-9)


@pytest.mark.golden_cases("amber_discriminative")
def test_discriminative(golden):
    content = golden.content
    items = [(item["type"], item["truth"], item["response"]) for item in content["items"]]
    made = amber_discriminative(items, compat="reference")
    for name, scores in content["reference"].items():
        ours = made[GROUPS.get(name, name.lower())]
        assert ours == {key.lower(): value for key, value in scores.items()}, name


@pytest.mark.golden_cases("amber_discriminative")
def test_ours_reads_answers_that_begin_with_the_word(golden):
    content = golden.content
    items = [(item["type"], item["truth"], item["response"]) for item in content["items"]]
    ours, theirs = amber_discriminative(items)["all"], content["reference"]["Descriminative Task"]
    assert ours["accuracy"] >= theirs["Accuracy"] - 0.2
    begun = [(kind, truth, f" {said.lower()}, it is so.") for kind, truth, said in items if said in ("Yes", "No")]
    exact = [one for one in items if one[2] in ("Yes", "No")]
    assert amber_discriminative(begun) == amber_discriminative(exact)
    assert amber_discriminative(begun, compat="reference")["all"]["accuracy"] == 0
