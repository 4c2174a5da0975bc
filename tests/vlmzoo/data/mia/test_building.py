"""Multi-image questions are pure functions of their number, and what cannot be made is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmzoo.data.mia.building import MiaBuilder, MiaPlan, tagged_text
from vlmzoo.data.mia.corruption import Corruption
from vlmzoo.data.sources.shape_cards import ShapeCardsSource
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.types import Sample, assistant, user

LAYOUTS = {"sequence": {2: 4, 5: 3}, "grid": {2: 2, 4: 2, 9: 1}, "pic_in_pic": {2: 3}}


def make_builder(source=None, **options):
    source = source or ShapeCardsSource(num_rows=40, card_px=28)
    return MiaBuilder(source, MiaPlan(**{"layouts": LAYOUTS, "tile_px": 28, "margin_px": 4, **options}))


class Files:
    """Conversations about image files, which are named and never opened."""

    def __init__(self, paths, question="<box>?", answer="a"):
        self.paths, self.question, self.answer = paths, question, answer
        self.size = len(paths)

    def sample(self, position):
        messages = [user(self.question, num_images=1), assistant(self.answer)]
        return Sample(messages=messages, images=[self.paths[position]], id=str(position))


@settings(max_examples=15)
@given(st.integers(0, 14), st.integers(0, 3))
def test_a_question_is_a_function_of_seed_and_number(number, seed):
    one, other = (make_builder(seed=seed).item(number) for _ in range(2))
    assert tagged_text(one.sample.messages[0]) == tagged_text(other.sample.messages[0])
    assert [image.tobytes() for image in one.sample.images] == [image.tobytes() for image in other.sample.images]
    assert (one.target, one.meta) == (other.target, other.meta)


def test_a_plan_makes_what_it_says():
    builder = make_builder(refusals=2)
    items = [builder.item(number) for number in range(len(builder))]
    assert len(items) == 17
    found = {(item.kind, item.num_images): 0 for item in items}
    for item in items[:-2]:
        found[item.kind, item.num_images] += 1
        tags = tagged_text(item.sample.messages[0]).count("<image>")
        assert tags == len(item.sample.images) == (item.num_images if item.kind == "sequence" else 1)
        assert 1 <= item.target <= item.num_images
        assert (item.box is None) == (item.kind == "sequence")
        assert len(item.meta["other_answers"]) == item.num_images - 1
    assert {key: count for key, count in found.items() if count} == {
        (kind, num): count for kind, counts in LAYOUTS.items() for num, count in counts.items()
    }
    for item in items[-2:]:
        assert item.is_refusal
        assert len(item.sample.images) == item.num_images == item.target - 1
        assert f"Image{item.target}:" not in tagged_text(item.sample.messages[0])
        assert item.sample.messages[1]["content"][0]["text"] == f"There is no Image{item.target}."


def test_the_asked_image_stands_where_its_number_says():
    builder = make_builder()
    for number in range(7):
        item = builder.item(number)
        asked = builder.source.sample(item.meta["source_position"]).images[0]
        assert item.sample.images[item.target - 1].tobytes() == asked.tobytes()


def test_companions_are_other_images_of_the_same_folder():
    paths = [f"{folder}/{number}.png" for folder in "ab" for number in range(6)] * 2
    builder = make_builder(Files(paths), layouts={"sequence": {5: 20}})
    for number in range(20):
        images = builder.item(number).sample.images
        assert len(set(images)) == 5
        assert len({image[0] for image in images}) == 1


def test_missing_companions_are_named_with_the_way_out():
    few = Files(["a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/1.png"])
    with pytest.raises(DataError, match="companions: all"):
        make_builder(few, layouts={"sequence": {3: 1}}).item(0)
    assert len(make_builder(few, layouts={"sequence": {3: 1}}, companions="all").item(0).sample.images) == 3


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("Where? [0.1, 0.2, 0.3, 0.4]", "There.", "grid"),
        ("Where?", "[1, 2, 3, 4]", "pic_in_pic"),
        ("Q?", "a" * 512, "sequence"),
        (" ", "a", "sequence"),
    ],
)
def test_boxes_long_answers_and_empty_questions_are_left_out(question, answer, kind):
    builder = make_builder(Files([f"a/{n}.png" for n in range(4)], question, answer), layouts={kind: {2: 1}})
    with pytest.raises(DataError, match="could not be asked"):
        builder.item(0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layouts": {"grid": {5: 1}}}, "must be one of"),
        ({"layouts": {"pic_in_pic": {3: 1}}}, "2 images"),
        ({"layouts": {"sequence": {1: 1}}}, "2 images"),
        ({"layouts": {"sequnce": {2: 1}}}, "sequence"),
        ({"layouts": {}}, "at least one question"),
        ({"companions": "any"}, "folder or all"),
    ],
)
def test_plans_that_cannot_be_are_refused(options, says):
    with pytest.raises((ConfigError, DataError), match=says):
        make_builder(**options)


def test_a_source_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="must have an end"):
        make_builder(ShapeCardsSource())


def test_noise_stays_in_its_region_and_is_repeated_by_its_seed():
    picture = Image.new("RGB", (12, 10), (128, 128, 128))
    noise = Corruption(std=60)
    made = noise(picture, (2, 3, 8, 7), seed="x")
    assert (
        made.tobytes()
        == noise(picture, (2, 3, 8, 7), seed="x").tobytes()
        != noise(picture, (2, 3, 8, 7), seed="y").tobytes()
    )
    changed = {(x, y) for x in range(12) for y in range(10) if made.getpixel((x, y)) != (128, 128, 128)}
    assert changed <= {(x, y) for x in range(2, 8) for y in range(3, 7)} and len(changed) > 15
    everywhere = Corruption(std=60, region="all")(picture, (2, 3, 8, 7), seed="x")
    assert everywhere.getpixel((0, 0)) != (128, 128, 128)
    assert Corruption()(picture, None, seed="x") is picture


@pytest.mark.parametrize("values", [{"std": -1}, {"std": 1, "region": "some"}])
def test_noise_that_makes_no_sense_is_refused(values):
    with pytest.raises(ConfigError):
        Corruption(**values)
