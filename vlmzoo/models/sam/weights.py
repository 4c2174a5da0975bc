"""Filling a mask decoder, or a detector, with published weights, or with nothing."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmzoo.errors import CheckpointError
from vlmzoo.models._shards import iterate_tensors, shapes_in, tensors_in
from vlmzoo.models.keys import KeyReport, compare_keys, nearest_layout
from vlmzoo.models.owlvit_keys import OWLVIT
from vlmzoo.models.sam.keys import TABLES

__all__ = ["hf_state_dict", "load_published"]

_COPIED = "shared_image_embedding.positional_embedding"


@torch.no_grad()
def load_published(decoder: nn.Module, source: str | Path) -> KeyReport:
    """Fill a SAM decoder, or OWL-ViT's tower, with published weights: with all that it takes, and with nothing else.

    Args:
        decoder: of the same sizes; one on the meta device is checked, and stays without weights.
        source: a ``.pth`` or ``.safetensors`` file in the authors' layout or transformers', or a folder.

    Returns:
        What fitted and what was dropped; always clean.

    Raises:
        CheckpointError: if the file does not exist, could run code, or is not this decoder's; nothing is loaded then.
    """
    path = Path(source)
    if not path.exists():
        raise CheckpointError(
            f"The weights `{path}` do not exist; download sam_vit_b, _l or _h from facebookresearch/segment-anything, "
            "a facebook/sam-vit-* folder, or google/owlvit-base-patch16 for a detector, and give its path."
        )
    files = [path] if path.is_file() else []
    if files:
        shapes, tensors = shapes_in(path), dict(tensors_in(path))
    else:
        tensors = dict(iterate_tensors(path))
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    state = decoder.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    table = nearest_layout({**TABLES, OWLVIT.layout: OWLVIT}, shapes)
    report = compare_keys(expected, [(table, shapes)])
    report.require_clean(path)
    for name, tensor in table.dict_to_ours(tensors).items():
        if not state[name].is_meta:
            state[name].copy_(tensor)
    return report


def hf_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a decoder's weights under the names of transformers' ``SamModel``, the matrix that stands twice included.

    It is the way out for a decoder that was trained here: ``SamModel.load_state_dict`` takes it.

    Args:
        state: of a ``SamDecoder``.
    """
    renamed = TABLES["sam_hf"].dict_to_theirs(state)
    return {**renamed, _COPIED: renamed["prompt_encoder.shared_embedding.positional_embedding"]}
