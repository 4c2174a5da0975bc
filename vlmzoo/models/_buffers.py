"""Buffers that no checkpoint holds, for models that were built on the meta device."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmzoo.blocks.encoders.timm import TimmEncoder
from vlmzoo.errors import CheckpointError

__all__ = ["restore_buffers"]


def restore_buffers(model: PreTrainedModel, *, dtype: torch.dtype | None, device: torch.device) -> None:
    """Recompute the buffers that no checkpoint holds, where the model was built on the meta device.

    transformers recomputes its own in ``_init_weights``, and keeps the floating ones in float32; timm's are born right.
    This must go before the weights, which ``_init_weights`` draws anew where they are not on the meta device.

    Raises:
        CheckpointError: if nobody recomputes one of them.
    """
    restored: list[tuple[str, Tensor]] = []
    for prefix, module, owner in _owned_modules(model, model, ""):
        buffers = {name: getattr(module, name) for name in module._non_persistent_buffers_set}
        lost = {name: buffer for name, buffer in buffers.items() if buffer is not None and buffer.is_meta}
        for name, buffer in lost.items():
            kind = buffer.dtype
            if kind.is_floating_point:
                kind = torch.float32 if owner is not model else dtype or kind
            setattr(module, name, torch.full(buffer.shape, _untouched(kind), dtype=kind, device=device))
            restored.append((f"{prefix}{name}", getattr(module, name)))
        if lost:
            owner._init_weights(module)
    for module in model.modules():
        if isinstance(module, TimmEncoder):
            module.restore_buffers()
    for name, buffer in restored:
        if buffer.numel() and buffer.dtype != torch.bool and bool((buffer == _untouched(buffer.dtype)).all()):
            raise CheckpointError(
                f"The buffer `{name}` is in no checkpoint, and nothing recomputes it; build the model on the CPU."
            )


def _untouched(dtype: torch.dtype) -> float | int | bool:
    """Return a value that no buffer is full of."""
    if dtype.is_floating_point:
        return torch.finfo(dtype).min
    return False if dtype == torch.bool else torch.iinfo(dtype).min


def _owned_modules(
    module: nn.Module, owner: PreTrainedModel, prefix: str
) -> Iterator[tuple[str, nn.Module, PreTrainedModel]]:
    """Iterate over a model's modules, each with the transformers model that initialises it."""
    owner = module if isinstance(module, PreTrainedModel) else owner
    yield prefix, module, owner
    for name, child in module.named_children():
        yield from _owned_modules(child, owner, f"{prefix}{name}.")
