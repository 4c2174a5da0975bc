"""``build_model``: a name or a spec to a model, with random or with published weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vlmzoo.config.schema import ModelConfig
from vlmzoo.data.assembly import check_processor
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapter_specs import rehearse_adapters
from vlmzoo.models.assembler import architecture_of, as_section, assemble_model, choose_dtype, published_name
from vlmzoo.models.keys import KeyTable, key_table
from vlmzoo.models.llava.keys import CLIP
from vlmzoo.models.native.processing import ProcessorChange
from vlmzoo.models.weights import load_into, read_shapes
from vlmzoo.zoo import load_card
from vlmzoo.zoo.card import Weights

__all__ = ["build_model"]


def build_model(
    model: str | Mapping[str, Any] | ModelConfig,
    *,
    pretrained: bool = False,
    adapters: Sequence[str | Mapping[str, Any]] = (),
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    attn_implementation: str | None = None,
    quantization: str | None = None,
) -> Any:
    """Build a model by name, or from an architecture spelt out.

    Args:
        model: a card of the zoo (``llava-1.5-7b``), a ``model:`` section of a config, or an architecture mapping.
        pretrained: whether to load the card's weights; otherwise they are random.
        adapters: names or ``{type: …}`` specs.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        device: where to build; ``meta`` builds without memory.
        attn_implementation: ``sdpa``, ``eager``, ``flash_attention_2`` …; None lets transformers choose.
        quantization: ``nf4`` or ``int8``, of the linear layers of a native base with published weights.

    Returns:
        The model, in evaluation mode; ``model.processor`` belongs to it.

    Raises:
        RegistryError: if a name is unknown.
        ConfigError: if the architecture cannot be built, or cannot hold an adapter.
        CheckpointError: if the weights are not whole.
    """
    options: dict[str, Any] = {"dtype": dtype, "device": device, "attn_implementation": attn_implementation}
    if not pretrained:
        if quantization is not None:
            raise ConfigError("`quantization` needs weights that exist: use `pretrained`, or `load_model` of a folder.")
        return assemble_model(model, adapters=adapters, **options)
    from vlmzoo.hub.download import fetch_model  # what only loading needs, and takes a second to import
    from vlmzoo.hub.load import load_model

    name = _card_name(model)
    weights = load_card(name).weights
    if weights.repo is None:
        raise ConfigError(f"`{name}` is not a release: nobody has published weights of it. Leave `pretrained` out.")
    given = as_section(model)
    section = given if isinstance(given, ModelConfig) else ModelConfig(name=name)
    wanted = [*section.adapters, *adapters]
    bare = section.model_copy(update={"adapters": [], "pretrained": True})
    planned = assemble_model(bare, device="meta", attn_implementation=attn_implementation)
    rehearse_adapters(wanted, planned.host_of(planned.config))
    if quantization is not None and planned.family != "native":
        raise ConfigError(f"`quantization` needs a native base, but `{name}` is a composed one; leave it out.")
    change = _processor_change(bare, planned)
    folder = fetch_model(weights.repo, revision=weights.revision)
    if change is not None:
        loaded = load_model(folder, adapters=wanted, quantization=quantization, **options)[0]
        change.apply(loaded.processor)
        return loaded
    load_into(
        planned,
        folder,
        key_table(planned, weights.layout),
        dtype=choose_dtype(dtype, device),
        device=device,
        more=_encoder_beside(planned, folder, weights),
    )
    if wanted:
        planned.attach_adapters(wanted)
    return planned.eval()


def _processor_change(section: ModelConfig, planned: Any) -> ProcessorChange | None:
    """Say how a native base's published processor is to differ; a composed one has its processor made to its spec.

    Raises:
        ConfigError: if the processor cannot be built.
    """
    given, wanted = (section.architecture or {}).get("processor") or {}, architecture_of(section)["processor"]
    if planned.family == "native":
        return ProcessorChange.of(given, wanted, planned.config)
    check_processor(wanted)
    return None


def _encoder_beside(planned: Any, folder: Path, weights: Weights) -> list[tuple[Path, KeyTable]]:
    """Fetch the image encoder where the published folder leaves it out, as the authors do."""
    if weights.encoder is None:
        return []
    table = key_table(planned, weights.layout)
    names = (table.to_ours(key) for key in read_shapes(folder) if table.knows(key))
    if any(name is not None and name.startswith("encoder.") for name in names):
        return []
    from vlmzoo.hub.download import fetch_model

    return [(fetch_model(weights.encoder), CLIP)]


def _card_name(model: str | Mapping[str, Any] | ModelConfig) -> str:
    """Return the name of the card whose published weights a model takes.

    Raises:
        ConfigError: if there is none: no card is named, or more of it is changed than its processor.
    """
    name = published_name(model)
    if name is None:
        raise ConfigError(
            "`pretrained` needs the `name` of a card, and of its architecture only `processor` may be changed, the "
            "tokenizer excepted; an architecture spelt out has no published weights: leave `pretrained` out, and it "
            "starts from scratch."
        )
    return name
