"""Tiny models that the tests of this folder share."""

from typing import Any

import pytest

TINY_TASK = {
    "type": "consecutive_table_readout",
    "style": "compact",
    "num_rows": 2,
    "num_cols": 3,
    "path_cells": [2, 3],
}


def make_architecture(**changes: Any) -> dict[str, Any]:
    """Describe a LLaVA of a few thousand parameters with a tokenizer of its own."""
    return {
        "family": "llava",
        "encoder": {
            "type": "clip",
            "image_size": 28,
            "patch_size": 14,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_layers": 2,
            "num_heads": 2,
        },
        "projector": {"type": "mlp2x_gelu"},
        "language_model": {
            "type": "causal_lm",
            "model_type": "llama",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
        "processor": {
            "image": {"aspect": "pad", "size": 28},
            "tokenizer": {"type": "byte_bpe", "corpus": [TINY_TASK], "vocab_size": 320, "num_samples": 20},
            "chat_template": "plain",
        },
    } | changes


TINY_ENCODERS: list[dict[str, Any]] = [
    {
        "type": "clip_hr",
        "image_size": 28,
        "native_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_layers": 2,
        "num_heads": 2,
    },
    {"type": "convnext", "image_size": 64, "depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
]


def make_eagle_architecture(**changes: Any) -> dict[str, Any]:
    """Describe an Eagle of two encoders, 4 tokens an image, with a tokenizer of its own."""
    below = make_architecture(family="eagle", encoders=TINY_ENCODERS, fusion={"type": "channel_concat", "grid_size": 2})
    del below["encoder"]
    below["processor"]["image"]["size"] = 64
    return below | changes


@pytest.fixture
def architecture() -> dict[str, Any]:
    return make_architecture()
