"""Tiny bases of every kind: composed with Llama and Qwen2, of two encoders (Eagle), and native Qwen2.5-VL."""

import torch
from PIL import Image

from tests.vlmzoo.models.conftest import make_architecture, make_eagle_architecture
from vlmzoo import build_model
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

BASES = ("llava-llama", "llava-qwen2", "eagle", "qwen2.5-vl")

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


def architecture_of(name):
    if name == "qwen2.5-vl":
        return load_card("qwen2.5-vl-3b").miniature()
    if name == "llava-qwen2":
        return make_architecture(language_model=_QWEN2)
    if name == "eagle":
        return make_eagle_architecture()
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
