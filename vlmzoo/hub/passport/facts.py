"""What a passport says of a model that need not run: configuration, tensors, tokenizer, processor."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from vlmzoo.hub.passport.digests import flattened, json_digest, row_digest, summary, tensor_digest
from vlmzoo.hub.passport.probes import TEXTS, probe_samples

__all__ = ["config_facts", "processor_facts", "tensor_facts", "tokenizer_facts"]

_OF_THE_MOMENT = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "auto_map")
"""Fields that say where or with what a folder was written, and nothing of what it computes."""

_OF_THE_CLASS = ("processor_class", "image_processor_type", "feature_extractor_type", "video_processor_type")


def config_facts(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration, by their path."""
    fields = flattened(json.loads(json.dumps(config.to_dict(), default=str)))
    return {name: value for name, value in fields.items() if name.rsplit(".", 1)[-1] not in _OF_THE_MOMENT}


def tensor_facts(model: nn.Module) -> dict[str, Any]:
    """Return each tensor's shape and digest, and a summary of what is computed and not stored (rotary frequencies)."""
    stored = model.state_dict()
    computed = {name: buffer for name, buffer in model.named_buffers() if name not in stored}
    return {
        "stored": {name: [list(tensor.shape), tensor_digest(tensor)] for name, tensor in stored.items()},
        "computed": {
            name: [list(buffer.shape), *summary(buffer)]
            for name, buffer in computed.items()
            if buffer.is_floating_point() and buffer.numel()
        },
    }


def tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    """Return a short digest of every row, of the merges, and the ids of the built-in texts."""
    rows = [str(token) for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    inner = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in inner.get("merges") or ()]
    return {
        "rows": "".join(row_digest(token) for token in rows),
        "merges": json_digest(merges),
        "special": {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        "ids": [list(tokenizer(text)["input_ids"]) for text in TEXTS],
    }


def processor_facts(processor: Any) -> dict[str, Any]:
    """Return the settings of a processor, and step by step what it makes of the built-in pictures."""
    return {
        "settings": _settings(processor),
        "chat_template": json_digest(processor.chat_template),
        "pictures": {sample.id: _steps(processor, sample) for sample in probe_samples()},
    }


def _settings(processor: Any) -> dict[str, Any]:
    own = {name: value for name, value in vars(processor).items() if isinstance(value, bool | int | float | str)}
    own.pop("chat_template", None)
    pictures = {name: value for name, value in processor.image_processor.to_dict().items() if name not in _OF_THE_CLASS}
    tiling = getattr(processor, "tiling", None)
    held = {**own, "image_processor": pictures, **({"tiling": tiling} if tiling else {})}
    return {name: value for name, value in flattened(json.loads(json.dumps(held, default=str))).items() if value != {}}


@torch.no_grad()
def _steps(processor: Any, sample: Any) -> dict[str, Any]:
    """Return what each step gives for one conversation: pictures, text, ids, what is learned."""
    pictures = processor.encode_images(sample.images)
    encoded = processor.encode(sample, pictures=pictures)
    ids: Sequence[int] = encoded["input_ids"]
    learned = [place for place, label in enumerate(encoded["labels"]) if label >= 0]
    return {
        "pictures": {name: _told(value) for name, value in pictures.items()},
        "num_placeholders": sum(token == processor.image_token_id for token in ids),
        "text_ids": [int(token) for token in ids if token != processor.image_token_id],
        "learned_places": [learned[0], learned[-1], len(learned)],
        "adapters": sorted(_names(encoded.get("adapters", {}))),
    }


def _told(value: Any) -> dict[str, Any]:
    tensor = torch.as_tensor(value)
    told: dict[str, Any] = {"shape": list(tensor.shape)}
    if tensor.is_floating_point():
        return {**told, "values": summary(tensor)}
    return {**told, "numbers": tensor.reshape(-1).tolist()}


def _names(adapters: Mapping[str, Any]) -> list[str]:
    return [f"{label}.{name}" for label, own in adapters.items() for name in own]
