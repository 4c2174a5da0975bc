"""Tiny bases of every kind: composed with Llama and Qwen2, a stub of two encoders, and native Qwen2.5-VL."""

import torch
from PIL import Image

from tests.vlmzoo.models.conftest import make_architecture
from vlmzoo import build_model
from vlmzoo.models import FAMILIES
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.llava.configuration import LlavaConfig
from vlmzoo.models.llava.modeling import LlavaVlm
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

BASES = ("llava-llama", "llava-qwen2", "two-encoders", "qwen2.5-vl")

_QWEN2 = {
    "type": "causal_lm",
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


class TwoEncoderConfig(LlavaConfig):
    model_type = "two_encoder_stub"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)


class TwoEncoderVlm(LlavaVlm):
    """Two encoders whose channels are joined, as Eagle does."""

    config_class = TwoEncoderConfig
    family = "two_encoders"
    part_prefixes = {**ComposedVlm.part_prefixes, "encoder": ("encoder.", "second.")}  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.second = type(self.encoder)(
            **{k: v for k, v in config.encoder.items() if k != "type"} | {"select_layer": -1}
        )
        self.post_init()

    def image_features(self, pixel_values):
        maps = self.encoder(pixel_values) + self.second(pixel_values)
        return self.projector(maps.flatten(2).transpose(1, 2))


def _build_two(*, encoder, projector, language_model, image_token_id, attn_implementation=None):
    from vlmzoo.blocks.language import LANGUAGE_MODELS

    config = TwoEncoderConfig(
        encoder=encoder,
        projector=projector,
        text_config=LANGUAGE_MODELS.build(language_model),
        image_token_id=image_token_id,
    )
    return TwoEncoderVlm._from_config(config, attn_implementation=attn_implementation)


if "two_encoders" not in FAMILIES:
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    from vlmzoo.data.processing import VlmProcessor

    FAMILIES.register("two_encoders", source="these tests", tiny=FAMILIES.entry("llava").tiny)(_build_two)
    AutoConfig.register("two_encoder_stub", TwoEncoderConfig, exist_ok=True)
    AutoModelForImageTextToText.register(TwoEncoderConfig, TwoEncoderVlm, exist_ok=True)
    AutoProcessor.register(TwoEncoderConfig, VlmProcessor, exist_ok=True)


def architecture_of(name):
    if name == "qwen2.5-vl":
        return load_card("qwen2.5-vl-3b").miniature()
    if name == "llava-qwen2":
        return make_architecture(language_model=_QWEN2)
    if name == "two-encoders":
        return make_architecture(family="two_encoders")
    return make_architecture()


def make_base(name, *, adapters=(), seed=0):
    """Build a tiny base with random weights."""
    torch.manual_seed(seed)
    return build_model(architecture_of(name), adapters=adapters)


def make_picture(seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (28, 28, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def make_samples(num=8):
    """Questions about pictures, each with an answer of its own that holds one [PROBE]."""
    words = ("red", "blue", "green", "gold", "grey", "pink", "cyan", "white")
    return [
        Sample(
            messages=[
                user(f"What is picture {index}?", num_images=1),
                assistant(f"It is {words[index]} [PROBE] {index}."),
            ],
            images=[make_picture(index)],
            id=str(index),
            reference=f"It is {words[index]}",
            meta={"features": [[float(index), 1.0, -1.0]], "targets": [index / 4]},
        )
        for index in range(num)
    ]
