"""Object HalBench's counts, merges and lists, as the released script has them."""

import pytest

from vlmzoo.errors import DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks.object_halbench import numbers_of
from vlmzoo.evaluation.records import Generation
from vlmzoo.scoring.chair import ObjectVocabulary, chair_scores, count_objects, read_object_list
from vlmzoo.scoring.hallucination import object_f1

GOLDEN = ("ovip", "chair_metrics.jsonl")
NAMES = {
    "CHAIRs": "chair_s",
    "CHAIRs_refine": "chair_s_refined",
    "CHAIRi": "chair_i",
    "obj_rec": "recall",
    "object_correct_rate": "precision",
    "avg_word_len": "num_words",
}
SYNONYMS = [["person"], ["dining table"], ["toilet"], ["wine glass"], ["traffic light"], ["tie"], ["car"], ["dog"]]


def counts_of(content):
    vocabulary = ObjectVocabulary(content["synonyms"])
    return [
        count_objects(
            one["objects"],
            truth=content["ground_truth"][str(one["image_id"])],
            vocabulary=vocabulary,
            num_words=one["num_words"],
        )
        for one in content["captions"]
    ]


@pytest.mark.golden_cases("chair")
def test_scores(golden):
    content = golden.content
    counts = counts_of(content)
    if content["error"] is not None:
        with pytest.raises(DataError):
            chair_scores(counts, compat="reference")
        assert all(value >= 0 for value in chair_scores(counts).values())
        return
    made, reference = chair_scores(counts, compat="reference"), content["reference"]
    for theirs, ours in NAMES.items():
        assert made[ours] == pytest.approx(reference[theirs], abs=1e-9), theirs
    assert sum(one.right for one in counts) == reference["coco_word_count"]
    assert sum(one.truth for one in counts) == reference["gt_word_count"]
    if content.get("object_f1_percent") is not None:
        f1 = object_f1(100 * made["precision"], 100 * made["recall"])
        assert f1 == pytest.approx(content["object_f1_percent"], abs=1e-9)


@pytest.mark.golden_cases("chair", where=lambda content: content["error"] is None)
def test_the_benchmark_says_what_the_scores_say(golden):
    counts = counts_of(golden.content)
    benchmark = BENCHMARKS.build({"type": "object_halbench", **BENCHMARKS.entry("object_halbench").tiny})
    told = [
        Generation(id=str(number), prompt="", completion="", reference=None, scores=numbers_of(one),
                   num_prompt_tokens=1, num_completion_tokens=1, finished=True)
        for number, one in enumerate(counts)
    ]  # fmt: skip
    made = {name: interval.mean for name, interval in benchmark.summarise(told, seed=0).items()}
    ours = chair_scores(counts)
    named = {"objecthal_f1": "f1", "response_hall": "chair_s_refined"}
    assert made == pytest.approx({name: ours[named.get(name, name)] for name in made}, abs=1e-9)
    assert len(made) == len(ours)


@pytest.mark.golden_cases("chair", where=lambda content: content.get("per_caption"))
def test_each_caption(golden):
    content = golden.content
    for count, one in zip(counts_of(content), content["per_caption"], strict=True):
        assert list(count.wrong) == one["hallucinated"]
        assert float(bool(count.wrong)) == one["CHAIRs"]
        assert count.share == pytest.approx(one["CHAIRi"], abs=1e-9)


@pytest.mark.golden_cases("chair_double_words")
def test_pairs_of_words(golden):
    content = golden.content
    vocabulary = ObjectVocabulary(content.get("synonyms", SYNONYMS))
    assert vocabulary.pairs_in(content["tokens"]) == content["reference"]


@pytest.mark.golden_cases("chair_object_list_parse")
def test_lists(golden):
    content = golden.content
    is_error = isinstance(content["reference"], str)
    expected = None if is_error else content["reference"]
    assert read_object_list(content["text"], compat="reference") == expected
    if not is_error:
        assert read_object_list(content["text"]) == expected
