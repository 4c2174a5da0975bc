"""Same or not: views of one thing or of two, splits that share nothing, and hard pairs that differ in one attribute."""

import numpy as np
import pytest

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.synthetic._views import ATTRIBUTES
from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES


def make(**options):
    return TASKS.build({"type": "same_or_not", **options})


def differing(first, second):
    return [name for name in ATTRIBUTES if getattr(first, name) != getattr(second, name)]


def test_the_answer_is_whether_the_things_are_one():
    task = make(negatives={"easy": 1.0, "hard": 1.0})
    answers = []
    for index in range(200):
        question = task.instance(0, index)
        first, second = question.things
        answers.append(question.answer)
        assert (question.answer == "yes") == (first == second)
        assert (question.negative is None) == (question.answer == "yes")
    assert all({answers[index], answers[index + 1]} == {"yes", "no"} for index in range(0, 200, 2))
    assert {answers[index] for index in range(0, 200, 2)} == {"yes", "no"}
    assert sum(make(yes_share=0.8).instance(0, index).answer == "yes" for index in range(500)) > 350


def test_a_hard_negative_differs_in_one_attribute_by_a_clear_step():
    task = make(hue_step=(0.15, 0.35))
    for index in range(200):
        question = task.instance(0, index)
        if question.answer == "no":
            assert len(differing(*question.things)) == 1
            gap = abs(question.things[0].hue - question.things[1].hue)
            assert gap == 0 or 0.149 <= min(gap, 1 - gap) <= 0.351
    assert all(
        differing(*make(hard_attributes=["hue"]).instance(0, index).things) in ([], ["hue"]) for index in range(50)
    )


def test_splits_share_no_thing():
    pools = {split: {make(split=split)._thing(number) for number in range(300)} for split in ("train", "validation")}
    pools["test"] = {thing for index in range(300) for thing in make(split="test").instance(0, index).things}
    assert not pools["train"] & pools["validation"] and not (pools["train"] | pools["validation"]) & pools["test"]


def test_views_of_one_thing_differ_and_a_question_is_drawn_the_same_again():
    task = make(yes_share=1.0)
    sample = task.sample("image", 0, 3)
    first, second = (np.asarray(image) for image in sample.images)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, np.asarray(task.sample("image", 0, 3).images[0]))


def test_counts_are_those_of_the_candidates_that_are_the_reference():
    task, counts = make(ask="count"), []
    for index in range(200):
        question = task.instance(0, index)
        assert int(question.answer) == sum(thing == question.things[0] for thing in question.things[1:])
        counts.append(question.answer)
    assert min(counts.count(str(number)) for number in range(4)) > 25
    assert len(task.sample("image", 0, 0).images) == 4


@pytest.mark.parametrize(
    ("ask", "score"), [("pair", "same_or_not"), ("count", "count_matches"), ("shape", "answer_tag")]
)
def test_an_unspoiled_target_earns_the_reward(ask, score):
    task = make(ask=ask)
    for index in range(20):
        sample = task.sample("image", 0, index)
        assert SCORES.build({"type": score})(sample.messages[1]["content"][0]["text"], sample.reference) == 1.0


def test_noise_spoils_targets_and_a_coin_throws_references_but_neither_the_answer():
    clean, noisy, random = make(), make(wrong_target=0.3), make(random_reference=True)
    plain = [clean.instance(0, index) for index in range(300)]
    assert [noisy.instance(0, index).reference for index in range(300)] == [one.answer for one in plain]
    assert 60 < sum(noisy.instance(0, index).told != plain[index].answer for index in range(300)) < 120
    thrown = [random.instance(0, index) for index in range(300)]
    assert [one.answer for one in thrown] == [one.answer for one in plain]
    assert 110 < sum(one.reference == one.answer for one in thrown) < 190


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "trian"}, "`split` must be one of .* Did you mean `train`"),
        ({"ask": "who"}, "`ask`"),
        ({"attributes": ["colour"]}, "`attributes`"),
        ({"attributes": ["hue"], "hard_attributes": ["size"]}, "`hard_attributes` must be some of"),
        ({"negatives": {"medium": 1.0}}, "`negatives`"),
        ({"negatives": {"hard": 0.0}}, "weights of zero or more"),
        ({"hue_step": (0.3, 0.2)}, "`hue_step`"),
        ({"num_instances": 1}, "`num_instances` must be 2 or more"),
        ({"yes_share": 1.5}, "`yes_share`"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(**options)
