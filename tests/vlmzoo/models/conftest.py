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


@pytest.fixture
def architecture() -> dict[str, Any]:
    return make_architecture()
