"""The ROI adapter: two turns, regions in words, and what becomes of words that are no region."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from tests.vlmzoo.adapters.test_switch import learn_by_heart, make_batch
from vlmzoo import build_model, load_model
from vlmzoo.adapters.roi import crop_of
from vlmzoo.checkpoint import save_model
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Frame
from vlmzoo.models.looking import look_and_answer
from vlmzoo.types import assistant
from vlmzoo.zoo import load_card

WORDS = ("red", "blue", "green", "gold", "grey", "pink", "cyan", "white")


def make_adapter(**options):
    return make_base("llava-llama", adapters=[{"type": "roi", **options}]).adapters["roi"]


def make_samples(adapter, number):
    """Two samples of one question: where to look, and the answer behind it."""
    picture, question = make_picture(number), f"What is {number}?"
    said = f"[{number / 16}, 0.25, {0.5 + number / 16}, 0.75]"
    first = adapter.region_sample(picture, question)
    second = adapter.answer_sample(picture, question, said=said, region=adapter.read(said, picture))
    answers = (said, f"It is {WORDS[number]}.")
    return [
        replace(one, messages=[*one.messages, assistant(answer)])
        for one, answer in zip((first, second), answers, strict=True)
    ]


def test_the_second_turn_shows_the_region_beside_the_whole():
    adapter, picture = make_adapter(least_side_px=1), Image.new("RGB", (40, 20), "red")
    region = adapter.read("[0.25, 0.375, 0.55, 0.675]", picture)
    sample = adapter.answer_sample(picture, "Is it red?", said="[…]", region=region, asks_letter=True)
    assert [one.size for one in sample.images] == [(40, 20), (12, 12)]
    texts = [block.get("text") for block in sample.messages[-1]["content"]]
    assert texts[0] == "The region of interest in the image is "
    assert texts[2].startswith('\n. Answer the question: "Is it red?"\nAnswer with the option')
    assert sample.images[1].getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("said", ["no idea", "", "[nan, 1, 2]", "[0.1; 0.2; 0.3]", "1e999 0 1 1"])
def test_words_that_are_no_region_show_the_whole_and_are_counted(said):
    adapter, picture = make_adapter(), Image.new("RGB", (100, 50))
    region = adapter.read(said, picture)
    assert region.fault is not None and crop_of(picture, region).size == (100, 100)
    assert (adapter.num_read, adapter.num_failed) == (0, 1)


@pytest.mark.parametrize("said", ["[0.5, 0.5, 0.5, 0.5]", "[9, 9, -3, -3]", "[0.9, 0.1, 0.2, 0.1]", "[1, 1, 1, 1]"])
@pytest.mark.parametrize("compat", [None, "cos"])
def test_any_region_holds_pixels(said, compat):
    adapter, picture = make_adapter(compat=compat), Image.new("RGB", (33, 77))
    region = adapter.read(said, picture)
    width, height = crop_of(picture, region).size
    assert width >= 1 and height >= 1
    assert adapter.num_read + adapter.num_failed == 1
    if compat is None:
        assert min(width, height) >= 31


def test_the_frame_is_the_padded_square():
    region = make_adapter().read("[0, 0.25, 1, 0.75]", Image.new("RGB", (40, 20)))
    frame = Frame.original("image", width=40, height=20)
    assert region.box.to(frame).xyxy == pytest.approx((0.0, -6.0, 40.0, 26.0))  # widened about its middle


def test_without_the_adapter_nothing_is_looked_for():
    with pytest.raises(ConfigError, match="must have the ROI adapter, but its adapters are none"):
        look_and_answer(make_base("llava-llama"), make_picture(0), "What?")
    with pytest.raises(ConfigError, match="`wording` must be one of"):
        make_adapter(wording="whither")
    with pytest.raises(ConfigError, match="`least_side_px` must be a positive whole number, but is 0"):
        make_adapter(least_side_px=0)


@torch.no_grad()
def test_two_turns_on_any_base(base_name):
    model = make_base(base_name, adapters=["roi"])
    answer = look_and_answer(model, make_picture(0), "What?", max_region_tokens=3, max_new_tokens=3)
    assert isinstance(answer.text, str) and answer.region.fault is not None
    assert model.adapters["roi"].num_failed == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava-1.5-7b", "qwen2.5-vl-3b"])
def test_eight_samples_are_learned_by_heart_and_come_back_from_the_folder(name, tmp_path):
    torch.manual_seed(0)
    model = build_model(load_card(name).miniature(), adapters=["roi"])
    adapter = model.adapters["roi"]
    samples = [sample for number in range(4) for sample in make_samples(adapter, number)]
    learn_by_heart(model, samples, num_steps=250)
    save_model(model, model.processor, tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model", dtype="float32")
    for one in (model, loaded):
        for number in range(4):
            answer = look_and_answer(one, make_picture(number), f"What is {number}?")
            assert answer.region.fault is None, answer.said
            assert answer.text == f"It is {WORDS[number]}."
    assert make_batch(model, samples[:1]).inputs["input_ids"].shape[0] == 1
