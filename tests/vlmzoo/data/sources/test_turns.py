"""Marks and images: every image has its block, every stray mark is text, and what does not match is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._turns import MARK, Draft, compose, escape_marks


def run(turns, images=(), lead=""):
    messages, found = compose(Draft(turns=turns, images=images, lead=lead))
    said = ["".join("[i]" if b["type"] == "image" else b["text"] for b in m["content"]) for m in messages]
    return said, found


words = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and MARK not in text
)


@given(st.lists(words, min_size=2, max_size=6))
def test_each_mark_takes_the_next_image(texts):
    images = list(range(len(texts) - 1))
    (said, answer), found = run([("user", MARK.join(texts)), ("assistant", "a")], images)
    assert found == images
    assert said == "[i]".join(escape_marks(text) for text in texts)
    assert answer == "a"


@given(st.lists(words, min_size=2, max_size=6), st.data())
def test_marks_beyond_the_images_are_text_that_no_processor_takes_for_one(texts, data):
    num_images = data.draw(st.integers(0, len(texts) - 2))
    (said,), found = run([("user", MARK.join(texts))], list(range(num_images)))
    assert len(found) == said.count("[i]") - sum(text.count("[i]") for text in texts) == num_images
    assert MARK not in said
    assert said.count("< image>") - sum(text.count("< image>") for text in texts) == len(texts) - 1 - num_images


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=4), st.integers(0, 4))
def test_whatever_is_said_there_are_as_many_images_as_blocks_or_an_error(turns, num_images):
    try:
        messages, found = compose(Draft(turns=turns, images=list(range(num_images))))
    except RowError:
        return
    blocks = [block for message in messages for block in message["content"]]
    assert sum(block["type"] == "image" for block in blocks) == len(found) == num_images
    assert all(MARK not in b["text"] for m in messages if m["role"] == "user" for b in m["content"] if "text" in b)


@pytest.mark.parametrize("lead", ["", "\n"])
def test_images_without_a_place_go_before_the_first_question(lead):
    said, found = run([("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r")], [1, 2], lead)
    assert said == ["s", f"[i][i]{lead}q", "a", "r"]
    assert found == [1, 2]


@pytest.mark.parametrize(
    ("text", "num_images", "num_places"),
    [
        ("<image>\nq", 0, 1),
        ("q\n<image>", 0, 1),
        (" <image> <image> compare", 1, 2),
        ("<image>", 0, 1),
        ("a <image> b", 2, 1),
        ("<image>q", 2, 1),
    ],
)
def test_images_and_places_that_do_not_match_are_refused_with_both_numbers(text, num_images, num_places):
    with pytest.raises(RowError, match=f"there are {num_images} images and {num_places} places") as caught:
        run([("user", text), ("assistant", "a")], list(range(num_images)))
    assert caught.value.kind == "image count"


def test_a_mark_in_the_middle_of_a_text_without_images_is_text():
    assert run([("user", "What does <image> mean?")])[0] == ["What does < image> mean?"]


def test_what_others_than_users_say_is_text():
    said, found = run([("system", "<image>"), ("user", "q <image> q"), ("assistant", "<image> is a tag")], [1])
    assert said == ["<image>", "q [i] q", "<image> is a tag"]
    assert found == [1]


def test_blocks_are_the_places_and_marks_beside_them_are_text():
    blocks = [{"type": "text", "text": "a <ima"}, "ge> b", {"type": "image"}, {"type": "image", "image": "own.png"}]
    said, found = run([("user", blocks), ("assistant", [{"type": "text", "text": "x"}]), ("user", "<image> c")], ["p"])
    assert said == ["a < image> b[i][i]", "x", "< image> c"]
    assert found == ["p", "own.png"]


@pytest.mark.parametrize(
    ("block", "value"),
    [
        ({"type": "image", "path": "x.png", "image": None}, "x.png"),
        ({"type": "image", "url": "x.png"}, "x.png"),
        ({"type": "image", "bytes": b"x"}, {"bytes": b"x"}),
        ({"type": "image", "base64": "eA=="}, {"base64": "eA=="}),
        ({"type": "image", "image": {"bytes": b"x", "path": None}}, {"bytes": b"x", "path": None}),
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "data:,"),
        ({"type": "image_url", "image_url": "x.png"}, "x.png"),
    ],
)
def test_a_block_may_carry_its_image(block, value):
    assert run([("user", [block])])[1] == [value]


@pytest.mark.parametrize(
    ("turns", "images", "kind", "match"),
    [
        ([("user", [{"type": "image"}])], [], "image count", "0 images and 1 places"),
        ([("user", [{"type": "text", "text": "q"}])], ["p"], "image count", "1 images and 0 places"),
        ([("assistant", "a")], ["p"], "image count", "1 images and 0 places"),
        ([("user", "q"), ("assistant", [{"type": "image"}])], ["p"], "image count", "must stand in turns of users"),
        ([("user", [{"type": "video"}])], [], "wrong value", "turn 0, block 0 .* must be `{type: text"),
        ([("user", [{"type": "text"}])], [], "wrong value", "turn 0, block 0"),
        ([("user", [3])], [], "wrong value", "but is 3 instead"),
        ([("user", "\ud800")], [], "wrong value", "must be Unicode"),
        ([("user", "q"), ("user", "q")], [], "turn order", "a `user` follows another"),
        ([("user", "q"), ("system", "s")], [], "turn order", "one system turn may come first"),
        ([("system", "s")], [], "turn order", "must say something"),
        ([], [], "turn order", "must say something"),
    ],
)
def test_what_is_no_conversation_is_refused(turns, images, kind, match):
    with pytest.raises(RowError, match=match) as caught:
        run(turns, images)
    assert caught.value.kind == kind


def test_an_answer_to_nothing_is_dropped_if_a_question_follows():
    assert run([("assistant", "hello"), ("user", "q"), ("assistant", "a")])[0] == ["q", "a"]
    assert run([("system", "s"), ("assistant", "hello"), ("user", "q")])[0] == ["s", "q"]
    assert run([("assistant", "all there is")])[0] == ["all there is"]
