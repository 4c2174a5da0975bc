"""LoRA and token rows into the base's own weights, so that a folder needs nothing but transformers."""

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from vlmzoo.errors import ConfigError
from vlmzoo.models.parts import freeze_unused

__all__ = ["merge_adapters"]


@torch.no_grad()
def merge_adapters(model: Any) -> Any:
    """Merge LoRA and token rows into the base, in place.

    Adapters with modules of their own stay attached. The tables grow where a new token needs a row; ids before it
    that had none (an image placeholder beside the vocabulary) get one, too.

    Args:
        model: a base with adapters; its weights must not be quantised.

    Returns:
        The same model.

    Raises:
        ConfigError: if its weights are quantised, or hold a number that is not finite.
    """
    if getattr(model, "is_quantized", False):
        raise ConfigError("A quantised base cannot take LoRA into its weights; load it without `quantization` first.")
    _merge_lora(model)
    _merge_token_rows(model)
    return model


def _merge_lora(model: Any) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise ConfigError(f"LoRA of `{name}` cannot be merged: {error}.") from error
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], module.get_base_layer())
    merged = [label for label, spec in model.adapter_specs.items() if spec["type"] == "lora"]
    for label in merged:
        del model.adapter_specs[label], model.adapters[label]
    if merged:
        del model.peft_config
        freeze_unused(model.requires_grad_(True))


def _merge_token_rows(model: Any) -> None:
    rows = model.token_rows
    if rows is None:
        return
    rows.uninstall()
    model.token_rows = None
    if model.get_input_embeddings().weight.shape[0] <= rows.last_id:
        model.resize_token_embeddings(rows.last_id + 1)
    for which, table in (("input", model.get_input_embeddings()), ("output", model.get_output_embeddings())):
        table.weight[rows.token_ids] = rows(which).to(table.weight)
