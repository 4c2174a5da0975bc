import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmzoo.data.conversations import prompt_of, text_of, with_images
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant, user


def make_images(num):
    """Return images of one pixel that differ."""
    return [Image.new("RGB", (1, 1), (i, 0, 0)) for i in range(num)]


def images_of(messages):
    return [block["image"] for m in messages for block in m["content"] if block["type"] == "image"]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_images_fill_the_blocks_in_their_order(nums_of_images):
    images = make_images(sum(nums_of_images))
    sample = Sample(messages=[user("look", num_images=num) for num in nums_of_images], images=images)
    assert images_of(with_images(sample)) == images


def test_the_sample_is_left_as_it_was():
    sample = Sample(messages=[user("look", num_images=1)], images=make_images(1))
    with_images(sample)
    assert sample.messages[0]["content"][0] == {"type": "image"}


def test_a_block_that_carries_its_image_takes_no_other():
    content = [{"type": "image", "url": "b.png"}, {"type": "image"}]
    images = make_images(1)
    filled = with_images(Sample(messages=[{"role": "user", "content": content}], images=images))[0]["content"]
    assert filled == [{"type": "image", "url": "b.png"}, {"type": "image", "image": images[0]}]


def test_an_image_on_disk_is_read(tmp_path):
    image = make_images(1)[0]
    image.save(tmp_path / "a.png")
    sample = Sample(messages=[user("look", num_images=1)], images=[tmp_path / "a.png"])
    assert images_of(with_images(sample)) == [image]


def test_a_missing_image_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"missing\.png"):
        with_images(Sample(messages=[user("look", num_images=1)], images=[tmp_path / "missing.png"]))


@pytest.mark.parametrize(("num_blocks", "num_images"), [(1, 0), (0, 1), (2, 3)])
def test_images_that_do_not_match_the_blocks_are_refused_with_both_counts(num_blocks, num_images):
    sample = Sample(messages=[user("look", num_images=num_blocks)], images=["a.png"] * num_images, id="s7")
    with pytest.raises(DataError, match=rf"`s7` .* has {num_images} images and {num_blocks} blocks instead; add"):
        with_images(sample)


def test_the_final_answer_is_taken_off_and_earlier_turns_stay():
    sample = Sample(messages=[user("a", num_images=1), assistant("b"), user("c"), assistant("d")], images=["a.png"])
    prompt = prompt_of(sample)
    assert text_of(prompt.messages) == "user: [image]\na\n\nassistant: b\n\nuser: c"
    assert prompt.images == ["a.png"]
    assert prompt_of(prompt) == prompt


def test_an_image_in_the_answer_leaves_with_it():
    answer = {"role": "assistant", "content": [{"type": "image"}]}
    images = make_images(2)
    prompt = prompt_of(Sample(messages=[user("a", num_images=1), answer], images=images))
    assert images_of(with_images(prompt)) == images[:1]


@pytest.mark.parametrize("messages", [[], [assistant("a")], [{"role": "system", "content": []}]])
def test_a_conversation_that_asks_nothing_is_refused(messages):
    with pytest.raises(DataError, match="must end with a user turn"):
        prompt_of(Sample(messages=messages, id="s7"))


def test_one_turn_reads_without_its_role():
    assert text_of([user("what?", num_images=2)]) == "[image]\n[image]\nwhat?"
