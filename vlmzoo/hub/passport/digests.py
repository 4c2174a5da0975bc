"""Short names for large things: a digest where bits must agree, a summary where arithmetic may round."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["flattened", "json_digest", "row_digest", "summary", "tensor_digest"]

_NUM_VALUES = 12


def json_digest(value: Any) -> str:
    """Return 16 hexadecimal digits of a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def row_digest(token: str) -> str:
    """Return 4 hexadecimal digits of one row of a vocabulary."""
    return f"{zlib.crc32(token.encode()) & 0xFFFF:04x}"


def tensor_digest(tensor: Tensor) -> str:
    """Return 16 hexadecimal digits of a tensor's bits, shape and dtype."""
    held = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{held.dtype}{tuple(held.shape)}".encode())
    digest.update(held.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def summary(tensor: Tensor) -> list[float]:
    """Return the mean, the root mean square and some values at fixed places, to six digits."""
    flat = tensor.detach().to("cpu", torch.float64).reshape(-1)
    if not flat.numel():
        return []
    places = [(number * 2654435761 + 12345) % flat.numel() for number in range(_NUM_VALUES)]
    numbers = [flat.mean(), flat.square().mean().sqrt(), *flat[places]]
    return [float(f"{float(number):.6g}") for number in numbers]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, ``{"a.b": value}``, in the order of names; lists stay whole."""
    flat: dict[str, Any] = {}
    for key in sorted(values, key=str):
        value, name = values[key], f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{name}."))
        else:
            flat[name] = value
    return flat
