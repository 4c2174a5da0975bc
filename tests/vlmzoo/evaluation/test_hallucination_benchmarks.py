"""Benchmarks of hallucination: what is asked, what is counted, what a judge is told, and what cannot be read."""

import json

import pytest

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, AnsweringBenchmark
from vlmzoo.evaluation.records import Generation
from vlmzoo.services.chat import ChatReply

NAMES = ("amber_generative", "amber_discriminative", "object_halbench", "mmhal", "llava_bench_wild", "icon_captions")


class Scripted:
    """A judge that says what it is given."""

    identity: dict = {"client": "scripted"}  # noqa: RUF012

    def __init__(self, *texts):
        self.texts, self.requests = list(texts), []

    def check(self):
        pass

    def reply(self, requests):
        self.requests += requests
        return [ChatReply(text=self.texts.pop(0)) for _ in requests]


def make(name, **options):
    return BENCHMARKS.build({"type": name, **BENCHMARKS.entry(name).tiny, **options})


def summary(benchmark, *answers):
    samples = list(benchmark.questions())
    counts = benchmark.counts_of_many(list(zip(answers, samples, strict=True)))
    told = [
        Generation(
            id=sample.id, prompt="", completion=text, reference=None, scores=dict(own), num_prompt_tokens=1,
            num_completion_tokens=1, finished=True,
        )
        for own, sample, text in zip(counts, samples, answers, strict=True)
    ]  # fmt: skip
    return {name: interval.mean for name, interval in benchmark.summarise(told, seed=0).items()}


@pytest.mark.parametrize("name", NAMES)
def test_questions_are_numbered_and_have_their_pictures(name):
    benchmark = make(name)
    samples = list(benchmark.questions())
    assert isinstance(benchmark, AnsweringBenchmark) and len(samples) == benchmark.num_questions
    assert len({sample.id for sample in samples}) == len(samples)
    assert all(len(sample.images) == 1 for sample in samples)
    assert json.loads(json.dumps(dict(benchmark.identity)))["type"] == name


def test_amber_blames_what_is_not_there():
    made = summary(make("amber_generative"), "A ball and two puppies.", "The sky over a sphere.")
    assert made == pytest.approx({"chair": 0.25, "cover": 1.0, "hal": 0.5, "cog": 0.5, "amber_f1": 1.5 / 1.75})


def test_an_f1_has_an_interval_over_questions():
    counts = [{"hallucinated": h, "mentions": 2, "covered": c, "truth": 2} for h, c in ((0, 2), (1, 1), (2, 0), (0, 1))]
    told = [
        Generation(
            id=str(number), prompt="", completion="", reference=None, scores=one, num_prompt_tokens=1,
            num_completion_tokens=1, finished=True,
        )
        for number, one in enumerate(counts)
    ]  # fmt: skip
    made = make("amber_generative").summarise(told, seed=0)["amber_f1"]
    assert made.mean == pytest.approx(2 * (5 / 8) * (4 / 8) / (9 / 8)) and made.num == 4
    assert 0 <= made.low < made.mean < made.high <= 1


def test_yes_or_no_is_scored_with_no_as_the_positive_class():
    assert summary(make("amber_discriminative"), "No, there is none.", "yes") == {
        "f1": 1.0, "accuracy": 1.0, "precision": 1.0, "recall": 1.0,
    }  # fmt: skip
    theirs = summary(make("amber_discriminative", compat="reference"), "No, there is none.", "Yes")
    assert theirs["accuracy"] == 0.5 and theirs["recall"] == 0.0
    theirs = summary(make("amber_discriminative", compat="reference"), "No", "No, there is none.")
    assert theirs["precision"] == 1.0 and theirs["f1"] == 1.0  # what is no answer to them is no No


def test_object_halbench_finds_synonyms_plurals_and_pairs_of_words():
    made = summary(make("object_halbench"), "Two puppies near dining tables.", "Kitten on a table.")
    assert made["chair_i"] == 0.5 and made["response_hall"] == 1.0 and made["recall"] == pytest.approx(2 / 3)
    assert made["objecthal_f1"] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))


def test_an_object_that_an_extractor_lists_twice_counts_once():
    benchmark = make("object_halbench")
    object.__setattr__(benchmark, "_client", Scripted('["dog", "brown dog", "dogs"]'))
    sample = next(iter(benchmark.questions()))
    (counts,) = benchmark.counts_of_many([("A dog and a brown dog.", sample)])
    assert counts["mentioned"] == 1


def test_an_extractor_lists_objects_and_an_answer_without_a_list_is_left_out():
    benchmark = make("object_halbench")
    object.__setattr__(benchmark, "_client", Scripted('["dog", "red chair"]', "none at all"))
    made = summary(benchmark, "There is a dog on it.", "There is a cat on it.")
    assert made["chair_i"] == 0.0 and made["num_words"] == 6


def test_mmhal_shows_the_picture_and_leaves_out_what_cannot_be_read():
    benchmark = make("mmhal")
    client = Scripted("Well. Rating: 4")
    object.__setattr__(benchmark, "_client", client)
    assert summary(benchmark, "A ball.") == {
        "rating": 4.0, "hallucination_rate": 0.0, "informativeness": 1.0, "unrated": 0.0,
    }  # fmt: skip
    content = client.requests[0].messages[0]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/jpeg;base64,") and "A red ball." in content[2]["text"]
    object.__setattr__(benchmark, "_client", Scripted("good"))
    assert summary(benchmark, "A ball.") == {"unrated": 1.0}
    theirs = make("mmhal", compat="reference")
    object.__setattr__(theirs, "_client", Scripted("good"))
    assert summary(theirs, "A ball.")["rating"] == 0.0


def test_llava_bench_divides_the_models_score_by_the_references():
    benchmark = make("llava_bench_wild")
    client = Scripted("10 5\nbecause")
    object.__setattr__(benchmark, "_client", client)
    assert summary(benchmark, "A ball.")["relative"] == 0.5
    sent = client.requests[0].messages[1]["content"]
    assert "[Assistant 2]\nA ball.\n\n[End of Assistant 2]" in sent and sent.startswith("[Context]\nA red ball.")
    theirs = make("llava_bench_wild", compat="reference")
    object.__setattr__(theirs, "_client", Scripted("?"))
    assert summary(theirs, "A ball.")["relative"] != 0.5


def test_captions_of_icons_are_counted():
    benchmark = make("icon_captions")
    there = [sample.reference for sample in benchmark.questions()]
    right = [", ".join(f"a {icon}" for icon in icons) for icons in there]
    assert summary(benchmark, *right)["chair_i"] == 0.0 and summary(benchmark, *right)["cover"] == 1.0
    assert summary(benchmark, "nothing", "nothing")["cover"] == 0.0


def test_files_that_are_missing_are_named():
    with pytest.raises(DataError, match="must be the `data` folder of AMBER's repository"):
        make("amber_generative", root="nowhere")
    with pytest.raises(ConfigError, match="`num_questions` must be from 1 to"):
        make("amber_generative", num_questions=9)
    with pytest.raises(DataError, match=r"must be MMHal-Bench's `response_template.json`"):
        make("mmhal", template="nowhere.json")
    with pytest.raises(DataError, match="must be a text file of this benchmark"):
        make("object_halbench", synonyms="nowhere.txt")
    with pytest.raises(DataError, match="its rules, but they do not fit together"):
        make("llava_bench_wild", rules="nowhere.json")
