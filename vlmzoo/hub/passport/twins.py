"""Tiny twins whose weights follow from the names of their tensors, so that every machine makes the same bits."""

import math
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlmzoo.models.assembler import assemble_model
from vlmzoo.zoo import list_models, load_card

__all__ = ["fill_by_name", "first_twin", "make_twin"]


def make_twin(name: str) -> Any:
    """Build the miniature of a card with the weights of its passport.

    Raises:
        RegistryError: if the zoo has no such card.
    """
    card = load_card(name)
    model = assemble_model(card.miniature(), adapters=card.tiny_adapters, dtype="float32")
    fill_by_name(model)
    return model.eval()


def first_twin(name: str) -> str:
    """Return the shortest name among the cards whose miniature is the same, as those of fine-tuned models are."""
    wanted = load_card(name)
    same = [
        other
        for other, card in ((other, load_card(other)) for other in list_models())
        if (card.miniature(), card.tiny_adapters) == (wanted.miniature(), wanted.tiny_adapters)
    ]
    return min(same, key=lambda other: (len(other), other))


@torch.no_grad()
def fill_by_name(model: nn.Module) -> None:
    """Fill every stored floating tensor with numbers that its name alone decides.

    They are whole multiples of a power of two, so no rounding of any machine touches them; their size keeps the states
    of a network near one.
    """
    filled: set[int] = set()
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if tensor.is_floating_point() and id(tensor) not in filled:
            filled.add(id(tensor))
            tensor.data.copy_(_numbers(name, tensor))


def _numbers(name: str, tensor: Tensor) -> Tensor:
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(tensor.numel())
    steps = ((raw >> np.uint64(48)).astype(np.int64) - 2**15) / 2**15  # in [-1, 1), exact
    even = torch.from_numpy(steps.reshape(tuple(tensor.shape)).astype(np.float32))
    if name.endswith("running_var"):
        return 1 + even.abs() / 8
    if tensor.ndim < 2:
        is_scale = name.endswith(("weight", "gamma", "scale")) or tensor.ndim == 0
        return 1 + even / 8 if is_scale else even / 8
    fan_in = tensor[0].numel()
    return even * 2.0 ** round(math.log2(math.sqrt(3 / fan_in)))
