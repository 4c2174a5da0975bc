"""From a name or a spec to a model with its processor."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from vlmzoo.config.merging import merge
from vlmzoo.config.schema import ModelConfig
from vlmzoo.data.assembly import build_tokenizer, make_processor
from vlmzoo.errors import ConfigError
from vlmzoo.models import FAMILIES
from vlmzoo.models.attention import check_attention
from vlmzoo.models.native.processing import build_native_processor
from vlmzoo.models.native.table import native_base
from vlmzoo.models.registration import register_auto_classes
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo import load_card

__all__ = ["architecture_of", "as_section", "assemble_model", "build_processor", "choose_dtype", "published_name"]


def assemble_model(
    model: str | Mapping[str, Any] | ModelConfig,
    *,
    adapters: Sequence[str | Mapping[str, Any]] = (),
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    attn_implementation: str | None = None,
) -> Any:
    """Build a model with random weights, by name or from an architecture spelt out.

    Args:
        model: a card of the zoo (``llava-1.5-7b``), a ``model:`` section of a config, or an architecture mapping.
        adapters: names or ``{type: …}`` specs, beside those of a ``model:`` section.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        device: where to build; ``meta`` builds without memory.
        attn_implementation: ``sdpa``, ``eager``, ``flash_attention_2`` …; None lets transformers choose.

    Raises:
        RegistryError: if a name is unknown.
        ConfigError: if the architecture cannot be built, or cannot hold an adapter.
    """
    register_auto_classes()
    model = as_section(model)
    architecture = architecture_of(model)
    if attn_implementation is not None:
        check_attention(attn_implementation, device)
    tokenizer = build_tokenizer(architecture["processor"]) if _needs_tokenizer(architecture) else None
    built = _build(architecture, tokenizer, device, attn_implementation)
    _cast(built, choose_dtype(dtype, device))
    built.attach_processor(lambda: _processor_for(architecture, built, tokenizer))
    _attach_published(built, model)
    wanted = [*(model.adapters if isinstance(model, ModelConfig) else ()), *adapters]
    if wanted:
        built.attach_adapters(wanted)
    return built.eval()


def build_processor(model: str | Mapping[str, Any] | ModelConfig) -> Any:
    """Build only the processor of a model, without memory for its weights.

    Raises:
        RegistryError: if a name is unknown.
        ConfigError: if the architecture cannot be built.
        DataError: if the tokenizer cannot be loaded.
    """
    return assemble_model(model, device="meta").processor


def as_section(model: str | Mapping[str, Any] | ModelConfig) -> str | Mapping[str, Any] | ModelConfig:
    """Return a mapping that is a ``model:`` section as one, checked; anything else as it is."""
    is_section = isinstance(model, Mapping) and {"name", "architecture"} & model.keys()
    return ModelConfig.model_validate(model) if is_section else model


def architecture_of(model: str | Mapping[str, Any] | ModelConfig) -> dict[str, Any]:
    """Return the architecture that a name, a ``model:`` section or a mapping stands for.

    What a section spells out beside a ``name`` is laid over the card as a config is laid over its ``base``: key by key,
    but a block of another ``type`` is a new block, and a list is replaced whole.

    Raises:
        ConfigError: if a part is missing or unknown.
        RegistryError: if the zoo has no such card, or no such family.
    """
    model = as_section(model)
    if isinstance(model, str):
        architecture = _of_card(model)
    elif isinstance(model, ModelConfig):
        card = _of_card(model.name) if model.name else {}
        architecture = merge(card, model.architecture or {})
    else:
        architecture = dict(model)
    _check(architecture)
    return architecture


def published_name(model: str | Mapping[str, Any] | ModelConfig) -> str | None:
    """Return the name of the card whose published weights belong to a model; None if there is none.

    They do where nothing but how pictures and texts are prepared differs from the card: the same blocks and tokenizer.

    Raises:
        RegistryError: if the zoo has no such card.
    """
    if isinstance(model, str):
        return model
    section = as_section(model)
    if not isinstance(section, ModelConfig):
        return None
    if section.name is None or not section.architecture:
        return section.name
    card = _of_card(section.name)
    changed = merge(card, section.architecture)
    tokenizer = (changed.get("processor") or {}).get("tokenizer")
    is_same = {**changed, "processor": card["processor"]} == card and tokenizer == card["processor"]["tokenizer"]
    return section.name if is_same else None


def _attach_published(built: Any, model: str | Mapping[str, Any] | ModelConfig) -> None:
    """Attach what a card's published model has beside its base; its tokens have rows in the published tables."""
    is_changed = isinstance(model, ModelConfig) and model.architecture is not None and not model.pretrained
    name = None if is_changed else published_name(model)
    card = None if name is None else load_card(name)
    if card is not None and card.adapters:
        built.attach_adapters(card.adapters, token_ids=card.token_ids)


def _of_card(name: str) -> dict[str, Any]:
    return load_card(name).architecture.model_dump(exclude_none=True)


def _check(architecture: Mapping[str, Any]) -> None:
    held = ", ".join(architecture) or "nothing"
    if "family" not in architecture:
        raise ConfigError(f"An architecture must have a `family`, but has only {held}.")
    parameters = inspect.signature(FAMILIES.entry(architecture["family"]).build).parameters
    takes = ["family", "processor", *(name for name in parameters if name != "attn_implementation")]
    for key in architecture:
        if key not in takes:
            raise ConfigError(f"An architecture takes no `{key}`.{nearest_hint(key, takes)}")
    needed = [name for name, p in parameters.items() if p.default is p.empty and name != "image_token_id"]
    for key in (*needed, "processor"):
        if key not in architecture:
            raise ConfigError(f"An architecture must have a `{key}`, but has only {held}.")


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


def _needs_tokenizer(architecture: Mapping[str, Any]) -> bool:
    """Say whether ids come from the tokenizer: it is trained on the spot, or nothing else names them."""
    if architecture["family"] == "native":
        return architecture["processor"].get("tokenizer", {}).get("type", "pretrained") != "pretrained"
    return "image_token_id" not in architecture


def _build(
    architecture: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase | None,
    device: str | torch.device | None,
    attn_implementation: str | None,
) -> Any:
    spec = {name: value for name, value in architecture.items() if name not in ("family", "processor")}
    if tokenizer is not None:
        spec = (_native_ids if architecture["family"] == "native" else _composed_ids)(spec, tokenizer)
    with torch.device(device) if device is not None else nullcontext():
        return FAMILIES.build({"type": architecture["family"], **spec}, attn_implementation=attn_implementation)


def _composed_ids(spec: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the spec of a composed model with the ids of its tokenizer."""
    special = {"vocab_size": len(tokenizer), **_ends(tokenizer)}
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    return {**spec, "image_token_id": image_token_id, "language_model": {**special, **spec["language_model"]}}


def _native_ids(spec: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the spec of a native model with the ids of its tokenizer."""
    config = dict(spec.get("config", {}))
    ids = {
        field: tokenizer.convert_tokens_to_ids(token) for field, token in native_base(spec["model_type"]).tokens.items()
    }
    text = {**config.get("text_config", {}), **_ends(tokenizer)}
    text["vocab_size"] = max(text.get("vocab_size", 0), len(tokenizer))
    return {**spec, "config": {**config, **ids, "text_config": text}}


def _ends(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {f"{end}_token_id": getattr(tokenizer, f"{end}_token_id") for end in ("bos", "eos", "pad")}


def _cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast what a checkpoint holds; what is computed from the configuration (rotary frequencies) stays in float32."""
    for tensor in model.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def _processor_for(architecture: Mapping[str, Any], model: Any, tokenizer: PreTrainedTokenizerBase | None) -> Any:
    spec = architecture["processor"]
    tokenizer = tokenizer or build_tokenizer(spec)
    if architecture["family"] == "native":
        return build_native_processor(spec, tokenizer=tokenizer, config=model.config)
    return make_processor(spec, tokenizer=tokenizer, num_image_tokens=model.num_image_tokens)
