"""What DeepSpeed's ``zero_to_fp32`` writes of a PEFT model: LoRA and base in one file, merged into plain weights."""

import re
from collections import defaultdict
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from torch import Tensor

from vlmzoo.errors import CheckpointError
from vlmzoo.models._shards import iterate_tensors

__all__ = ["merge_zero_dump"]

_PREFIX = "base_model.model."
_LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")


def merge_zero_dump(source: str | Path, out: str | Path, *, lora_alpha: float) -> Path:
    """Write the merged weights of a dump under the publisher's plain names, as safetensors.

    Source: DeepSpeed, ``zero_to_fp32.py``; dvlab-research/LISA@3cb2d43, merge_lora_weights_and_save_hf_model.py.

    Args:
        source: a folder with ``pytorch_model.bin`` or shards, keys with PEFT's prefix.
        out: a new folder.
        lora_alpha: of the run; updates are scaled by alpha / r, with r the rank of the matrices. LISA's is 16.

    Returns:
        ``out``, which ``load_into`` reads.

    Raises:
        CheckpointError: if an update lacks a matrix or its weight, or a key is no plain one.
    """
    weights: dict[str, Tensor] = {}
    pairs: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in iterate_tensors(source):
        name = key.removeprefix(_PREFIX).replace(".base_layer.", ".")
        found = _LORA.fullmatch(name)
        if found is None and ".lora_" in name:
            raise CheckpointError(
                f"`{source}` holds `{key}`, which is no plain LoRA matrix; merge it with PEFT itself."
            )
        if found is None:
            weights[name] = tensor
        else:
            pairs[f"{found[1]}.weight"][found[2]] = tensor
    for name, pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise CheckpointError(f"The LoRA of `{name}` needs a matrix A and a matrix B, but has only {min(pair)}.")
        if name not in weights:
            raise CheckpointError(f"The LoRA updates `{name}`, which `{source}` does not hold; dump all weights again.")
        scale = lora_alpha / pair["A"].shape[0]
        update = (pair["B"].float() @ pair["A"].float()) * scale
        weights[name] = (weights[name].float() + update).to(weights[name].dtype)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict({name: tensor.contiguous() for name, tensor in weights.items()}, folder)
    return folder
