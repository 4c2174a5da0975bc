"""What the processor promises: exact placeholders, exact targets, harmless user text, one sentence for bad input."""

import struct
import zlib

import pytest
import torch
from PIL import Image

from vlmzoo.data.assembly import build_image_processor, make_processor
from vlmzoo.data.collation import Collator, LengthPolicy
from vlmzoo.data.images import load_image
from vlmzoo.data.tokenizers import TOKENIZERS
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.types import Sample, assistant, user

TASK = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}
SPEC = {
    "image": {"aspect": "pad", "size": 28},
    "tokenizer": {"type": "byte_bpe", "corpus": [TASK], "vocab_size": 320, "num_samples": 20},
}
NUM_IMAGE_TOKENS = 4


def make(template="plain"):
    tokenizer = TOKENIZERS.build(SPEC["tokenizer"])
    return make_processor(SPEC | {"chat_template": template}, tokenizer=tokenizer, num_image_tokens=NUM_IMAGE_TOKENS)


@pytest.fixture(params=["plain", "vicuna_v1"])
def processor(request):
    return make(request.param)


def make_image(width=40, height=30):
    return Image.new("RGB", (width, height), (200, 30, 30))


def make_conversation(*, num_images=1, text="What is this?"):
    images = [make_image() for _ in range(num_images)]
    return Sample(messages=[user(text, num_images=num_images), assistant("A red box.")], images=images, id="s1")


@pytest.mark.parametrize("num_images", [0, 1, 3])
def test_every_image_gets_exactly_its_placeholders(processor, num_images):
    encoded = processor.encode(make_conversation(num_images=num_images))
    assert encoded["input_ids"].count(processor.image_token_id) == num_images * NUM_IMAGE_TOKENS
    assert ("pixel_values" in encoded) == (num_images > 0)
    if num_images:
        assert encoded["pixel_values"].shape == (num_images, 3, 28, 28)


def test_token_counts_are_known_from_image_sizes_alone(processor):
    sizes = [(10, 500), (4000, 3000)]
    assert processor.count_image_tokens(sizes) == [NUM_IMAGE_TOKENS] * 2
    assert processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"] == [NUM_IMAGE_TOKENS] * 2


def test_training_and_sampling_render_the_same_prompt(processor):
    sample = make_conversation()
    trained = processor.encode(sample)["input_ids"]
    question = [
        {"role": "user", "content": [{"type": "image", "image": sample.images[0]}, sample.messages[0]["content"][1]]}
    ]
    sampled = processor.apply_chat_template(question, add_generation_prompt=True, tokenize=True, return_dict=True)
    prompt = sampled["input_ids"][0]
    assert trained[: len(prompt)] == list(prompt)


def test_the_last_token_of_a_prompt_is_not_the_end_of_sequence(processor):
    ids = processor.apply_chat_template([user("Hello?")], add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
    row = ids[0] if isinstance(ids[0], list) else ids
    assert row[-1] != processor.tokenizer.eos_token_id


def test_what_the_assistant_says_and_its_end_are_the_targets_and_nothing_else(processor):
    encoded = processor.encode(make_conversation())
    learned = [label for label in encoded["labels"] if label != -100]
    assert processor.tokenizer.decode(learned).strip() == "A red box.</s>"
    assert all(label in (-100, token) for label, token in zip(encoded["labels"], encoded["input_ids"], strict=True))


def test_all_answers_of_a_dialogue_are_targets(processor):
    messages = [user("One?"), assistant("First."), user("Two?"), assistant("Second.")]
    encoded = processor.encode(Sample(messages=messages, id="s"))
    text = processor.tokenizer.decode([label for label in encoded["labels"] if label != -100])
    assert "First.</s>" in text and "Second.</s>" in text and "?" not in text


@pytest.mark.parametrize("written", ["<image>", "</s>", "<s>", "<pad>", "a<image><image>b</s>"])
def test_users_cannot_write_special_tokens(processor, written):
    plain = processor.encode(make_conversation(text="x"))["input_ids"]
    hostile = processor.encode(make_conversation(text=written))["input_ids"]
    for token in processor.tokenizer.all_special_ids:
        assert hostile.count(token) == plain.count(token)
    rendered = processor.apply_chat_template(
        [[user(written)]], add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"][0]
    assert processor.image_token_id not in rendered


def test_our_encoding_equals_transformers_own_call(processor):
    sample = make_conversation(num_images=2)
    text = processor.apply_chat_template(list(sample.messages))
    theirs = processor(text=text, images=list(sample.images), add_special_tokens=False, return_tensors="pt")
    ours = processor.encode(sample)
    assert theirs["input_ids"][0].tolist() == ours["input_ids"]
    assert torch.equal(theirs["pixel_values"], ours["pixel_values"])


def test_the_vicuna_prompt_is_the_one_that_llava_was_trained_with():
    text = make("vicuna_v1").apply_chat_template(
        [user("Why?", num_images=1), assistant("So.")], add_generation_prompt=False
    )
    assert text == (
        "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nWhy? ASSISTANT: So.</s>"
    )


def test_images_and_placeholders_of_different_number_are_named():
    sample = Sample(messages=[user("?", num_images=2), assistant("!")], images=[make_image()], id="row-7")
    with pytest.raises(DataError, match="`row-7` has 2 image placeholders but 1 images; give one"):
        make().encode(sample)


def test_a_conversation_without_an_answer_teaches_nothing_and_says_so():
    with pytest.raises(DataError, match="`s` holds nothing that the assistant says"):
        make().encode(Sample(messages=[user("?")], id="s"))


@pytest.mark.parametrize(
    ("aspect", "size"), [("square", (40, 20)), ("square", (30, 60)), ("pad", (50, 20)), ("crop", (50, 20))]
)
def test_every_aspect_gives_the_size_that_the_encoder_takes(aspect, size):
    pixels = build_image_processor(size=28, aspect=aspect)([make_image(*size)], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 28, 28)


def test_padding_puts_the_mean_colour_around_the_picture():
    processor = build_image_processor(size=28, aspect="pad")
    pixels = processor([Image.new("RGB", (56, 28), (255, 255, 255))], return_tensors="pt")["pixel_values"][0]
    assert pixels[:, 0].abs().max() < 0.02  # the padding is the mean: about 0 after normalising
    assert pixels[:, 14].min() > 1.5


def test_image_options_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="Did you mean `crop`"):
        build_image_processor(size=28, aspect="corp")
    with pytest.raises(ConfigError, match="needs a square `size`"):
        build_image_processor(size=[28, 56], aspect="pad")
    with pytest.raises(ConfigError, match="Did you mean `clip`"):
        build_image_processor(size=28, mean="clipp")
    with pytest.raises(ConfigError, match="3 numbers"):
        build_image_processor(size=28, mean=[0.5])
    with pytest.raises(ConfigError, match="takes no `templat`. Did you mean"):
        make_processor(SPEC | {"templat": ""}, tokenizer=TOKENIZERS.build(SPEC["tokenizer"]), num_image_tokens=1)


def test_a_missing_image_names_its_path(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png` does not exist; check the path"):
        load_image(tmp_path / "nowhere.png")


def test_a_cut_off_jpeg_is_one_sentence(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.effect_noise((300, 300), 90).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cut\.jpg` cannot be decoded .*; replace it"):
        load_image(path)


def test_a_file_that_is_no_image_is_one_sentence(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"text\.png` cannot be opened .*; replace it"):
        load_image(path)


def test_an_enormous_image_is_refused_by_its_header(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)))
    with pytest.raises(DataError, match=r"huge\.png.*(50000×50000|2500000000)"):
        load_image(path)


def test_grey_palette_and_transparent_images_become_rgb():
    for mode in ("L", "P", "RGBA", "1", "CMYK"):
        assert load_image(Image.new(mode, (5, 4))).mode == "RGB"


def test_padding_goes_to_the_side_that_was_asked_for():
    rows = [
        {"input_ids": [5, 6], "labels": [-100, 6], "pixel_values": None},
        {"input_ids": [7, 8, 9], "labels": [-100, 8, 9], "pixel_values": torch.zeros(1, 3, 2, 2)},
    ]
    right = Collator(pad_token_id=0)(rows).inputs
    left = Collator(pad_token_id=0, side="left")(rows).inputs
    assert right["input_ids"].tolist() == [[5, 6, 0], [7, 8, 9]]
    assert left["input_ids"].tolist() == [[0, 5, 6], [7, 8, 9]]
    assert left["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert right["labels"].tolist() == [[-100, 6, -100], [-100, 8, 9]]
    assert right["pixel_values"].shape == (1, 3, 2, 2)
    assert Collator(pad_token_id=0, multiple=8)(rows).inputs["input_ids"].shape == (2, 8)


def test_a_conversation_that_is_too_long_is_refused_or_counted_and_never_cut():
    encoded = {"input_ids": [1] * 9}
    refusing = LengthPolicy(max_tokens=8)
    with pytest.raises(DataError, match="`row` has 9 tokens, visual ones included, but only 8"):
        refusing.admits(encoded, name="row")
    skipping = LengthPolicy(max_tokens=8, action="skip")
    assert not skipping.admits(encoded, name="row")
    assert skipping.num_skipped == 1
    assert skipping.admits({"input_ids": [1] * 8}, name="row")
    with pytest.raises(ConfigError, match="refuse or skip"):
        LengthPolicy(action="truncate")
