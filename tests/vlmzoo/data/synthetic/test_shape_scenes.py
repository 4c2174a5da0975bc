import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.synthetic._scene import ATTRIBUTES, RELATIONS
from vlmzoo.data.synthetic._scene_image import draw_scene, object_mask
from vlmzoo.data.synthetic._scene_rules import COLORS, SHAPES
from vlmzoo.errors import ConfigError

WORDS = {word for word in (*COLORS, *SHAPES, "small", "large")}
seeds = st.integers(0, 2**40)


def make_task(**options):
    return TASKS.build({"type": "shape_scenes", **options})


def fitting(scene, phrase):
    """Return the objects that a plain phrase fits, read word by word."""
    words = set(phrase.split()) & WORDS
    return [n for n, item in enumerate(scene.objects) if words <= set(item.attributes().values())]


@given(seeds)
def test_every_attribute_value_is_shared_so_no_single_word_tells_the_target(index):
    scene = make_task().instance(0, index)
    assert len(scene.objects) >= 5
    for name in ATTRIBUTES:
        values = [getattr(item, name) for item in scene.objects]
        assert all(values.count(value) >= 2 for value in values)
    looks = [tuple(item.attributes().values()) for item in scene.objects]
    assert len(set(looks)) == len(looks)


@given(seeds)
def test_a_phrase_of_attributes_fits_the_target_alone(index):
    scene = make_task(relational=0.0).instance(1, index)
    (query,) = scene.queries
    assert not query.is_relational
    assert fitting(scene, query.phrase) == [query.target]


@given(seeds)
def test_a_relational_phrase_needs_its_relation_and_leaves_the_target_alone(index):
    scene = make_task(relational=1.0).instance(2, index)
    (query,) = scene.queries
    relation = next(relation for relation in RELATIONS if f" {relation} the " in query.phrase)
    head, told = query.phrase.split(f" {relation} the ")
    assert fitting(scene, told) == [query.anchor]
    anchor = scene.objects[query.anchor]
    candidates = [n for n in fitting(scene, head) if n != query.anchor]
    assert len(candidates) >= 2
    right, down = RELATIONS[relation]
    beyond = [
        n
        for n in candidates
        if right * (scene.objects[n].x_px - anchor.x_px) + down * (scene.objects[n].y_px - anchor.y_px) > 4
    ]
    assert beyond == [query.target]


@pytest.mark.parametrize("level", ["simple", "medium", "hard"])
def test_masks_are_the_pixels_of_the_picture(level):
    task = make_task(level=level)
    for index in range(10 if level != "hard" else 2):
        scene = task.instance(3, index)
        picture = np.asarray(draw_scene(scene))
        taken = np.zeros(picture.shape[:2], dtype=int)
        for number, item in enumerate(scene.objects):
            mask = object_mask(scene, number)
            assert mask.area > 0
            assert (picture[mask.array] == COLORS[item.color]).all()
            taken += mask.array
            box, square = mask.box(), scene.box(number)
            assert box is not None
            assert all(inner >= outer - 1 for inner, outer in zip(box.xyxy[:2], square.xyxy[:2], strict=True))
            assert all(inner <= outer + 1 for inner, outer in zip(box.xyxy[2:], square.xyxy[2:], strict=True))
        assert taken.max() == 1
        ground = picture[taken == 0]
        assert (ground == ground[:, :1]).all()
        assert not any((picture[taken == 0] == color).all(axis=1).any() for color in COLORS.values())


def test_all_shapes_differ_and_fill_a_fair_part_of_their_square():
    task, areas = make_task(level="medium"), {}
    for index in range(60):
        scene = task.instance(4, index)
        for number, item in enumerate(scene.objects):
            areas.setdefault(item.shape, []).append(object_mask(scene, number).area / item.side_px**2)
    assert set(areas) == set(SHAPES)
    means = {shape: np.mean(values) for shape, values in areas.items()}
    assert all(0.25 < mean < 0.9 for mean in means.values()), means


def test_a_third_of_the_phrases_is_relational():
    task = make_task()
    assert np.mean([task.instance(5, index).queries[0].is_relational for index in range(1000)]) > 0.3


@settings(max_examples=20)
@given(seeds, st.sampled_from(["lisa", "compact"]))
def test_a_sample_has_a_mask_for_every_seg_and_the_words_point_at_it(index, wording):
    sample = make_task(num_queries=[1, 4], wording=wording).sample("image", 6, index)
    said = "".join(m["content"][0]["text"] for m in sample.messages if m["role"] == "assistant")
    assert said.count("[SEG]") == len(sample.masks) == len(sample.messages) // 2
    assert all(mask.frame.width == sample.images[0].width for mask in sample.masks)
    assert len(sample.meta["phrases"]) == len(sample.meta["boxes_xyxy_px"]) == len(sample.masks)
    assert sample.messages[0]["content"][0] == {"type": "image"}
    json.dumps(sample.meta)


def test_the_lisa_wording_is_the_authors():
    sample = make_task().sample("image", 0, 0)
    phrase = sample.meta["phrases"][0]
    assert phrase in sample.messages[0]["content"][1]["text"]
    assert sample.messages[1]["content"][0]["text"].endswith("[SEG].")


def test_the_text_form_says_where_the_objects_are():
    task = make_task()
    scene = task.instance(0, 7)
    lines = task.text_form(scene).splitlines()
    assert len(lines) == len(scene.objects)
    places = [tuple(map(int, line.split()[-2:])) for line in lines]
    assert places == sorted(set(places))
    assert task.prompt(scene, "text").startswith(task.text_form(scene))
    assert make_task(wording="compact").response(scene, "text") == task.answer(scene)
    assert task.answer(scene) in lines
    assert task.response(scene, "text", cot=False) == task.answer(scene)[-3:]
    assert task.response(scene, "conversion") == task.text_form(scene)
    assert task.response(scene, "image_via_text").startswith(task.text_form(scene))


def test_the_thought_before_the_mask_tells_the_object_and_can_be_cut():
    task = make_task(wording="compact")
    scene = task.instance(0, 7)
    told = task.answer(scene).rsplit(" ", 2)[0]
    assert task.response(scene, "image") == f"{told} [SEG]"
    assert task.response(scene, "image", keep=0.5) == f"{told[: round(len(told) / 2)]} [SEG]"
    assert task.response(scene, "image", cot=False) == "[SEG]"
    lisa = make_task().response(scene, "image")
    assert lisa.startswith(f"The {told}. ")
    assert lisa.endswith("[SEG].")


def test_kinds_without_a_segmentation_have_no_masks():
    task = make_task(num_queries=2)
    for kind in ("text", "conversion"):
        assert not task.sample(kind, 0, 0).masks
    assert len(task.sample("image_via_text", 0, 0).masks) == 2


def test_boxes_can_be_asked_for():
    sample = make_task(answer="box").sample("image", 0, 3, cot=False)
    assert not sample.masks
    (box,) = sample.meta["boxes_xyxy_px"]
    assert sample.messages[1]["content"][0]["text"] == "[" + ", ".join(f"{edge:.0f}" for edge in box) + "]"


def test_the_hard_level_has_tiny_targets():
    scene = make_task(level="hard").instance(0, 0)
    assert scene.size_px == (768, 768)
    assert {item.size for item in scene.objects if item.side_px <= 18} == {"small"}


def test_instances_depend_on_seed_and_index_alone():
    task, again = make_task(), make_task()
    assert task.instance(1, 2) == again.instance(1, 2)
    assert len({task.instance(seed, index) for seed in (0, 1) for index in (0, 1)}) == 4


def test_two_hundred_samples_take_little_time():
    task = make_task(num_queries=4)
    started = time.process_time()
    for index in range(200):
        task.sample("image", 0, index)
    assert time.process_time() - started < 4  # of the processor; a tenth of it on a free core


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_objects": 4}, "from 5 on"),
        ({"num_objects": [5, 10]}, "at most the 9 cells"),
        ({"num_colors": 9}, "`num_colors` must be from 2 to 8"),
        ({"relational": 1.5}, "from 0 to 1"),
        ({"image": {"large_px": 40}}, "room for"),
        ({"image": {"small_px": 24}}, "stay below `large_px`"),
        ({"image": {"canvas": 8}}, "takes no `canvas`"),
        ({"num_objects": [5, 6, 7]}, "a whole number or two"),
        ({"wording": "loud"}, "wording"),
    ],
)
def test_options_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_task(**options)
