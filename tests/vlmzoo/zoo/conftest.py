"""What the tests of this folder share: the cards by kind, and transformers' own models built from them."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from vlmzoo.data.tokenizers import TOKENIZERS
from vlmzoo.zoo import TOKEN_FIELDS, list_models, load_card

NAMES = list_models()
NATIVE = [name for name in NAMES if load_card(name).family == "native"]
COMPOSED = [name for name in NAMES if name not in NATIVE]


def build_native(architecture: dict[str, Any], *, device: str = "cpu") -> PreTrainedModel:
    """Build transformers' own class from the fields of a card."""
    config = AutoConfig.for_model(architecture["model_type"], **architecture["config"])
    with torch.device(device):
        return AutoModelForImageTextToText.from_config(config)


def with_token_ids(architecture: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return a miniature whose configuration names the ids of its own tokenizer, and that tokenizer."""
    tokenizer = TOKENIZERS.build(architecture["processor"]["tokenizer"])
    names = TOKEN_FIELDS[architecture["model_type"]]
    ids = {field: tokenizer.convert_tokens_to_ids(token) for field, token in names.items()}
    text = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = architecture["config"]
    return architecture | {"config": config | ids | {"text_config": config["text_config"] | text}}, tokenizer
