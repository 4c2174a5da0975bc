"""Attention by name: is it known, and can this machine run it?"""

import importlib.util

import torch

from vlmzoo.errors import ConfigError, MissingExtraError
from vlmzoo.registry import nearest_hint

__all__ = ["ATTENTION_NAMES", "check_attention"]

ATTENTION_NAMES = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")


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
