"""AMBER's figures to the digit in the script's mode, and what ours says of the same answers."""

import pytest

from vlmzoo.scoring.amber import AmberVocabulary, amber_discriminative, amber_generative, count_mentions

GOLDEN = ("ovip", "amber_metrics.jsonl")
NAMES = {"CHAIR": "chair", "Cover": "cover", "Hal": "hal", "Cog": "cog"}
GROUPS = {"Descriminative Task": "all", "Exsitence": "existence"}


def similarity_of(table):
    def similarity(word, other):
        return 1.0 if word == other else table.get(f"{word}|{other}", table.get(f"{other}|{word}", 0.0))

    return similarity


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


def test_generative(golden):
    content = golden.content
    if content["kind"] != "amber_generative":
        return
    made = amber_generative(counts_of(content, "reference"), compat="reference")
    assert made == {NAMES[name]: value for name, value in content["reference"].items()}


def test_ours_divides_by_what_is_there(golden):
    content = golden.content
    if content["kind"] != "amber_generative":
        return
    theirs, ours = content["reference"], amber_generative(counts_of(content, None))
    assert ours["cover"] == pytest.approx(theirs["Cover"], abs=0.2)
    assert all(0 <= value <= 100 for value in ours.values())


def test_discriminative(golden):
    content = golden.content
    if content["kind"] != "amber_discriminative":
        return
    items = [(item["type"], item["truth"], item["response"]) for item in content["items"]]
    made = amber_discriminative(items, compat="reference")
    for name, scores in content["reference"].items():
        ours = made[GROUPS.get(name, name.lower())]
        assert ours == {key.lower(): value for key, value in scores.items()}, name


def test_ours_reads_answers_that_begin_with_the_word(golden):
    content = golden.content
    if content["kind"] != "amber_discriminative":
        return
    items = [(item["type"], item["truth"], item["response"]) for item in content["items"]]
    ours, theirs = amber_discriminative(items)["all"], content["reference"]["Descriminative Task"]
    assert ours["accuracy"] >= theirs["Accuracy"] - 0.2
