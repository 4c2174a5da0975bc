"""Shape detection: exact boxes, novel labels that are never asked for in training, and targets with noise."""

import statistics

import numpy as np
import pytest

from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES


def make(**options):
    return TASKS.build({"type": "shape_detection", **options})


def text_of(sample):
    return sample.messages[1]["content"][0]["text"]


def test_the_solution_is_where_the_pixels_are():
    task = make(step=1, canvas_px=100, num_objects=[1, 1])
    for index in range(20):
        sample = task.sample("image", 0, index)
        pixels = np.asarray(sample.images[0]).astype(int)
        is_object = np.ptp(pixels, axis=2) > 0  # the ground is grey
        rows, columns = np.nonzero(is_object)
        edges = [columns.min() * 10, rows.min() * 10, (columns.max() + 1) * 10, (rows.max() + 1) * 10]
        assert sample.reference == f"<answer>[{{'Position': {[int(e) for e in edges]}, 'Confidence': 1}}]</answer>"


def test_every_reward_of_an_unspoiled_target_is_full():
    task = make(labels="all", num_objects=[2, 4])
    for index in range(30):
        sample = task.sample("image", 1, index)
        for name in ("iou", "confidence", "format_think_answer"):
            assert SCORES.build({"type": name})(text_of(sample), sample.reference) == pytest.approx(1.0)


def test_base_and_novel_labels_share_nothing_but_colours_and_shapes():
    asked = {
        labels: {make(labels=labels).instance(0, index).category for index in range(600)}
        for labels in ("base", "novel")
    }
    assert (len(asked["base"]), len(asked["novel"])) == (24, 12)
    assert not asked["base"] & asked["novel"]
    for part in (0, 1):
        words = [{category.split()[part] for category in asked[labels]} for labels in ("base", "novel")]
        assert words[0] == words[1]


def test_noise_spoils_targets_and_never_solutions():
    clean, noisy = make(), make(jitter=1, wrong_object=0.3)
    reward = SCORES.build({"type": "iou"})
    samples = [noisy.sample("image", 0, index) for index in range(200)]
    assert [s.reference for s in samples] == [clean.sample("image", 0, index).reference for index in range(200)]
    earned = [reward(text_of(sample), sample.reference) for sample in samples]
    assert 0.3 < statistics.mean(earned) < 0.7
    assert 0.0 in earned


def test_the_released_prompt_can_be_asked():
    prompt = make(wording="full").sample("image", 0, 0).messages[0]["content"][1]["text"]
    assert prompt.startswith("Detect all objects belonging to the category '")
    assert "tags.The output answer format" in prompt


def test_few_shots_come_again_with_each_category_as_often_as_the_others():
    task = make(shots=2, labels="novel")
    names = task.category_names
    samples = [task.sample("image", 3, index) for index in range(4 * len(names))]
    assert [sample.meta["category"] for sample in samples[: len(names)]] == names
    first, again = samples[: 2 * len(names)], samples[2 * len(names) :]
    assert [sample.reference for sample in first] == [sample.reference for sample in again]
    assert len({sample.images[0].tobytes() for sample in first}) == 2 * len(names)


def test_one_box_can_be_the_answer_as_grounding_wants_it():
    grounding = SCORES.build({"type": "grounding"})
    for index in range(10):
        sample = make(answer="corners").sample("image", 0, index)
        assert grounding(text_of(sample), sample.reference) == 2
        assert sample.reference.startswith("<answer>(")


def test_targets_say_confidences_that_mean_nothing_and_solutions_do_not():
    task = make(confidences=[0, 0.5, 1])
    samples = [task.sample("image", 0, index) for index in range(60)]
    said = [float(text_of(sample).split("'Confidence': ")[1].split("}")[0]) for sample in samples]
    assert {said.count(value) > 8 for value in (0, 0.5, 1)} == {True} and set(said) == {0, 0.5, 1}
    assert all("'Confidence': 1}" in sample.reference for sample in samples)
    plain = [make().sample("image", 0, index) for index in range(60)]
    assert [sample.reference for sample in plain] == [sample.reference for sample in samples]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": "bases"}, "labels"),
        ({"num_objects": [1, 9]}, "`num_objects` must be two numbers from 1 to 4"),
        ({"step": 33}, "`step` must divide 1000"),
        ({"answer": "corner"}, "answer"),
        ({"shots": 0}, "`shots` be positive or null, but they are .* 0"),
        ({"confidences": []}, "`confidences` must hold a number"),
        ({"wrong_object": 1.5}, "`wrong_object` lie within 0 and 1"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(**options)
