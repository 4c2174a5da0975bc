"""From a name or a spec to a model with its processor."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from vlmzoo.config.schema import ModelConfig
from vlmzoo.data.assembly import build_tokenizer, make_processor
from vlmzoo.data.processing import VlmProcessor
from vlmzoo.errors import ConfigError
from vlmzoo.models import FAMILIES
from vlmzoo.models.attention import check_attention
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.registration import register_auto_classes
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo import load_card

__all__ = ["architecture_of", "build_model", "build_processor", "choose_dtype"]

_ARCHITECTURE_KEYS = ("family", "encoder", "projector", "language_model", "processor", "image_token_id")


def build_model(
    model: str | Mapping[str, Any] | ModelConfig,
    *,
    pretrained: bool = False,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    attn_implementation: str | None = None,
) -> ComposedVlm:
    """Build a model by name, or from an architecture spelt out.

    Args:
        model: a card of the zoo (``llava-1.5-7b``), a ``model:`` section of a config, or an architecture mapping.
        pretrained: whether to load the card's weights.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        device: where to build; ``meta`` builds without memory.
        attn_implementation: ``sdpa``, ``eager``, ``flash_attention_2`` …; None lets transformers choose.

    Raises:
        RegistryError: if a name is unknown.
        ConfigError: if the architecture cannot be built, or the weights cannot be loaded this way.
    """
    register_auto_classes()
    architecture = architecture_of(model)
    if pretrained:
        raise ConfigError(
            "`pretrained` must be False for `build_model` in this version: released weights have no key table yet. "
            "Load a folder that this library wrote with `load_model(path)`."
        )
    if attn_implementation is not None:
        check_attention(attn_implementation, device)
    tokenizer = None if "image_token_id" in architecture else build_tokenizer(architecture["processor"])
    built = _build(architecture, tokenizer, device, attn_implementation)
    nn.Module.to(built, dtype=choose_dtype(dtype, device))
    built.attach_processor(lambda: _processor_for(architecture, built, tokenizer))
    return built.eval()


def build_processor(model: str | Mapping[str, Any] | ModelConfig) -> VlmProcessor:
    """Build only the processor of a model, without memory for its weights.

    Raises:
        RegistryError: if a name is unknown.
        ConfigError: if the architecture cannot be built.
        DataError: if the tokenizer cannot be loaded.
    """
    return build_model(model, device="meta").processor


def architecture_of(model: str | Mapping[str, Any] | ModelConfig) -> dict[str, Any]:
    """Return the architecture that a name, a ``model:`` section or a mapping stands for.

    Raises:
        ConfigError: if a part is missing or unknown.
        RegistryError: if the zoo has no such card.
    """
    if isinstance(model, str):
        architecture = dict(load_card(model).architecture)
    elif isinstance(model, ModelConfig):
        card = dict(load_card(model.name).architecture) if model.name else {}
        architecture = {**card, **(model.architecture or {})}
    elif {"name", "architecture"} & model.keys():
        return architecture_of(ModelConfig(**model))
    else:
        architecture = dict(model)
    for key in architecture:
        if key not in _ARCHITECTURE_KEYS:
            raise ConfigError(f"An architecture takes no `{key}`.{nearest_hint(key, _ARCHITECTURE_KEYS)}")
    for key in ("family", "encoder", "projector", "language_model", "processor"):
        if key not in architecture:
            raise ConfigError(
                f"An architecture must have a `{key}`, but has only {', '.join(architecture) or 'nothing'}."
            )
    return architecture


def choose_dtype(dtype: str | torch.dtype, device: str | torch.device | None) -> torch.dtype:
    """Turn a dtype's name into a dtype; ``auto`` looks at the device, since bfloat16 is emulated on many CPUs.

    Raises:
        ConfigError: if there is no such floating dtype.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        is_cuda = torch.device(device or "cpu").type == "cuda"
        return torch.bfloat16 if is_cuda and torch.cuda.is_bf16_supported() else torch.float32
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        names = ("auto", "float32", "bfloat16", "float16")
        raise ConfigError(f"`dtype` must be one of {', '.join(names)}, but is {dtype!r}.{nearest_hint(dtype, names)}")
    return found


def _build(
    architecture: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase | None,
    device: str | torch.device | None,
    attn_implementation: str | None,
) -> ComposedVlm:
    spec = {name: value for name, value in architecture.items() if name not in ("family", "processor")}
    if tokenizer is not None:
        spec["image_token_id"] = tokenizer.convert_tokens_to_ids("<image>")
        special = {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        spec["language_model"] = {**special, **spec["language_model"]}
    with torch.device(device) if device is not None else nullcontext():
        return FAMILIES.build(  # type: ignore[return-value]
            {"type": architecture["family"], **spec}, attn_implementation=attn_implementation
        )


def _processor_for(
    architecture: Mapping[str, Any], model: ComposedVlm, tokenizer: PreTrainedTokenizerBase | None
) -> VlmProcessor:
    spec = architecture["processor"]
    return make_processor(spec, tokenizer=tokenizer or build_tokenizer(spec), num_image_tokens=model.num_image_tokens)
