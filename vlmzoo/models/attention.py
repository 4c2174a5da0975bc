"""Attention by name: is it known, can this machine run it, and which encoders take it?"""

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.errors import ConfigError, MissingExtraError
from vlmzoo.registry import nearest_hint

__all__ = ["ATTENTION_NAMES", "check_attention", "encoder_spec"]

ATTENTION_NAMES = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
_ENCODER_ATTENTION = ("sdpa", "eager", "flash_attention_2", "flash_attention_3")
"""What vision transformers run, too; flex attention pays for long masked texts only."""


def check_attention(name: str, device: str | torch.device | None = None) -> None:
    """Check that an attention implementation can run.

    Args:
        name: as transformers calls it.
        device: where the model will be.

    Raises:
        ConfigError: if the name is unknown, or the device cannot run it.
        MissingExtraError: if its package is not installed.
    """
    if name not in ATTENTION_NAMES:
        known = ", ".join(ATTENTION_NAMES)
        raise ConfigError(
            f"`attn_implementation` must be one of {known}, but is {name!r}.{nearest_hint(name, ATTENTION_NAMES)}"
        )
    if not name.startswith("flash"):
        return
    package = "flash_attn" if name == "flash_attention_2" else "flash_attn_interface"
    if importlib.util.find_spec(package) is None:
        if name == "flash_attention_3":
            raise MissingExtraError(f"`{package}` is not installed; build it from flash-attention's folder `hopper`.")
        raise MissingExtraError.for_package(package, "flash")
    if torch.device(device or "cuda").type != "cuda" or not torch.cuda.is_available():
        raise ConfigError(f"`attn_implementation: {name}` needs a CUDA device, but there is none; use sdpa.")


def encoder_spec(spec: Mapping[str, Any], attention: str | None) -> dict[str, Any]:
    """Return an encoder's spec; one that takes an attention implementation and has none gets the model's.

    Args:
        spec: for the encoder registry.
        attention: of the model.
    """
    takes_it = "attn_implementation" in inspect.signature(ENCODERS.entry(spec["type"]).build).parameters
    return {"attn_implementation": attention, **spec} if takes_it and attention in _ENCODER_ATTENTION else dict(spec)
