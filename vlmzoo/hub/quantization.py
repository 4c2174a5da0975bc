"""Four and eight bit weights through bitsandbytes, where it is installed (QLoRA, arXiv:2305.14314)."""

import importlib.util
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from vlmzoo.errors import ConfigError, MissingExtraError

__all__ = ["quantization_config"]


def quantization_config(name: str, *, compute_dtype: torch.dtype) -> Any:
    """Return transformers' configuration for weights of few bits.

    Args:
        name: ``nf4`` (4 bits, double quantised) or ``int8``.
        compute_dtype: of the products.

    Raises:
        ConfigError: if there is no such quantization.
        MissingExtraError: if bitsandbytes is not installed.
    """
    if name not in ("nf4", "int8"):
        raise ConfigError(f"`quantization` must be nf4 or int8, but is {name!r} instead.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError.for_package("bitsandbytes", "quant")
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
    )
