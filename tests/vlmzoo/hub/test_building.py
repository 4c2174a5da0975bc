"""Published weights with a processor of one's own: what may differ from the card, and what may not."""

import pytest
import torch
from PIL import Image

from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.config import ModelConfig
from vlmzoo.errors import ConfigError
from vlmzoo.hub import download
from vlmzoo.models.assembler import architecture_of
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

PIXELS = {"processor": {"pixels": {"min": 3136, "max": 6272}}}


class ReachedError(Exception):
    """Somebody wanted published weights."""


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Give the miniature of a card for what its authors published; returns the model that was saved."""

    def publish(name):
        torch.manual_seed(0)
        model = build_model(load_card(name).miniature())
        folder = save_model(model, model.processor, tmp_path / "published")
        monkeypatch.setattr(download, "fetch_model", lambda repo, revision=None: folder)
        return model

    return publish


@pytest.fixture
def unreachable(monkeypatch):
    def fetch(repo, revision=None):
        raise ReachedError(repo)

    monkeypatch.setattr(download, "fetch_model", fetch)


def pixels_of(model):
    picture = Image.new("RGB", (300, 200), "red")
    sample = Sample(messages=[user("What?", num_images=1), assistant("Red.")], images=[picture], id="one")
    return model.processor.encode(sample)["pixel_values"].shape[0]


def test_published_weights_see_as_many_pixels_as_the_section_says(published):
    small = published("qwen2-vl-2b")
    plain = build_model({"name": "qwen2-vl-2b"}, pretrained=True)
    changed = build_model(ModelConfig(name="qwen2-vl-2b", architecture=PIXELS), pretrained=True)
    assert pixels_of(plain) == pixels_of(small) > 32 >= pixels_of(changed)  # 6272 pixels are 32 patches of 14 × 14
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(changed.parameters(), small.parameters(), strict=True))
    assert changed.processor.chat_template == plain.processor.chat_template
    assert changed.processor.image_processor.image_mean == plain.processor.image_processor.image_mean


def test_published_weights_take_another_template(published):
    published("qwen2-vl-2b")
    given = {"name": "qwen2-vl-2b", "architecture": {"processor": {"chat_template": "plain"}}}
    plain, changed = build_model("qwen2-vl-2b", pretrained=True), build_model(given, pretrained=True)
    assert plain.processor.chat_template != changed.processor.chat_template
    assert pixels_of(plain) == pixels_of(changed)


def test_what_a_section_says_holds_whatever_was_published(published):
    published("qwen2-vl-2b")  # with a smaller budget than the card's
    pixels = load_card("qwen2-vl-2b").architecture.processor["pixels"]
    given = {"name": "qwen2-vl-2b", "architecture": {"processor": {"pixels": pixels}}}
    plain, changed = build_model("qwen2-vl-2b", pretrained=True), build_model(given, pretrained=True)
    assert pixels_of(changed) > 300 > pixels_of(plain)


def test_an_interpolation_reaches_the_published_processor(published):
    saved = published("llava-1.5-7b-hf")
    given = {"image": {"resample": "bilinear", "mean": "half"}}
    section = {"name": "llava-1.5-7b-hf", "architecture": {"processor": given}}
    ours, theirs = build_model(section, pretrained=True).processor.image_processor, saved.processor.image_processor
    assert (ours.resample, list(ours.image_mean)) == (2, [0.5, 0.5, 0.5])
    assert (theirs.resample, ours.image_std, ours.size) == (3, theirs.image_std, theirs.size)


def test_tiles_of_published_weights_can_be_limited(published):
    published("internvl3.5-1b")
    given = {"name": "internvl3.5-1b", "architecture": {"processor": {"tiling": {"max_tiles": 1}}}}
    plain, changed = build_model("internvl3.5-1b", pretrained=True), build_model(given, pretrained=True)
    assert pixels_of(changed) == 1 < pixels_of(plain)


def test_adapters_of_a_section_are_attached_to_published_weights(published):
    published("qwen2-vl-2b")
    given = {"name": "qwen2-vl-2b", "architecture": PIXELS, "adapters": [{"type": "lora", "rank": 2}]}
    assert list(build_model(given, pretrained=True).adapter_specs) == ["lora"]


@pytest.mark.parametrize("name", ["lisa-7b-v1", "llava-1.5-7b"])
def test_a_composed_base_keeps_its_published_adapters_beside_another_processor(unreachable, name, monkeypatch):
    seen = []
    monkeypatch.setattr("vlmzoo.hub.building.rehearse_adapters", lambda adapters, host: seen.append(adapters))
    given = {"name": name, "architecture": {"processor": {"image": {"resample": "bilinear"}}}}
    with pytest.raises(ReachedError):
        build_model(given, pretrained=True)
    section = ModelConfig(**given, pretrained=True)
    attached = list(build_model(section, device="meta").adapter_specs)
    assert len(attached) == len(load_card(name).adapters)
    assert seen == [[]]


@pytest.mark.parametrize(
    ("name", "architecture", "sentence"),
    [
        ("qwen2-vl-2b", {"config": {"text_config": {"num_hidden_layers": 2}}}, "only `processor` may be changed"),
        ("llava-1.5-7b", {"projector": {"type": "linear"}}, "only `processor` may be changed"),
        ("qwen2-vl-2b", {"processor": {"tokenizer": {"repo": "owner/other"}}}, "the tokenizer excepted"),
        ("qwen2-vl-2b", {"processor": {"pixel": {"max": 1}}}, "takes no `pixel`. Did you mean `pixels`?"),
        ("qwen2-vl-2b", {"processor": {"pixels": {"max": 1}}}, "`processor.pixels.max` must be a whole number"),
        ("llava-1.5-7b", {"processor": {"image": {"aspekt": "pad"}}}, "`processor.image` cannot be built"),
        ("llava-1.5-7b", {"processor": {"chat_template": "vicuna"}}, "no chat template named `vicuna`"),
    ],
)
def test_what_published_weights_cannot_take_is_refused_before_they_are_fetched(
    unreachable, name, architecture, sentence
):
    with pytest.raises(ConfigError) as error:
        build_model({"name": name, "architecture": architecture}, pretrained=True)
    assert sentence in str(error.value)


def test_an_architecture_without_a_card_has_no_published_weights(unreachable):
    with pytest.raises(ConfigError, match="`pretrained` needs the `name` of a card"):
        build_model(load_card("llava-1.5-7b").miniature(), pretrained=True)


def test_what_a_section_spells_out_is_laid_over_the_card_at_every_depth():
    card = architecture_of("qwen2-vl-2b")
    changed = architecture_of({"name": "qwen2-vl-2b", "architecture": PIXELS})
    assert changed["processor"] == {
        **card["processor"],
        "pixels": {**card["processor"]["pixels"], **PIXELS["processor"]["pixels"]},
    }
    assert {**changed, "processor": None} == {**card, "processor": None}


def test_a_block_of_another_type_is_a_new_block():
    changed = architecture_of({"name": "seal-vqa-7b", "architecture": {"projector": {"type": "perceiver"}}})
    assert changed["projector"] == {"type": "perceiver"}


def test_a_list_of_a_section_replaces_the_cards():
    given = {"encoders": [{"type": "clip_hr", "image_size": 336}]}
    assert architecture_of({"name": "eagle-x2-llama3-8b", "architecture": given})["encoders"] == given["encoders"]


def test_only_native_bases_are_quantized_and_that_is_said_before_anything_is_fetched(unreachable):
    with pytest.raises(ConfigError, match="needs a native base"):
        build_model("llava-1.5-7b", pretrained=True, quantization="nf4")
