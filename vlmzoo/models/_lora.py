"""LoRA in LLaVA's habit: what a run leaves behind, and how it goes into the weights it was trained on.

Letters: r rank of a low-rank update.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmzoo.errors import CheckpointError
from vlmzoo.models._shards import shapes_in, tensors_in
from vlmzoo.models.keys import Shape
from vlmzoo.registry import nearest_hint

__all__ = ["LoraWeights", "read_lora"]

_LORA_KEY = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
_PLAIN_LORA: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False,),
    "fan_in_fan_out": (False,),
    "lora_bias": (False,),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "layer_replication": (),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),  # the others change the base weights, too
}
"""Settings of PEFT under which merging is ``W + scale * B @ A``, with the values that say so; None always does."""


@dataclass(frozen=True, kw_only=True)
class LoraWeights:
    """What a LoRA run in LLaVA's habit leaves behind; keys are those of the base weights.

    Args:
        updates: for a weight ``(out, in)`` the matrices A ``(r, in)`` and B ``(out, r)``.
        scale: what ``B @ A`` is multiplied by (LoRA, arXiv:2106.09685, section 4.1; rsLoRA, arXiv:2312.03732).
        trained: tensors that were trained in full and replace the base's, or join it.
        base: what it was trained on, as its configuration says.
    """

    updates: Mapping[str, tuple[Tensor, Tensor]]
    scale: float
    trained: Mapping[str, Tensor]
    base: str

    def shapes_on(self, base: Mapping[str, Shape]) -> dict[str, Shape]:
        """Return keys and shapes of the merged weights.

        Raises:
            CheckpointError: if this is not the base that the updates were trained on.
        """
        for key, (down, up) in self.updates.items():
            shape = (up.shape[0], down.shape[1])
            if key not in base:
                raise CheckpointError(
                    f"The LoRA updates `{key}`, which the base does not hold.{nearest_hint(key, base)} It was trained "
                    f"on `{self.base}`."
                )
            if base[key] != shape:
                raise CheckpointError(
                    f"The LoRA updates a `{key}` of {shape}, but the base's is {base[key]}; it was trained on "
                    f"`{self.base}`."
                )
        return {**base, **{key: tuple(tensor.shape) for key, tensor in self.trained.items()}}

    def merged(self, key: str, weight: Tensor) -> Tensor:
        """Return ``W + scale * B @ A``, summed in float32; or the weight itself, if it has no update."""
        if key not in self.updates:
            return weight
        down, up = self.updates[key]
        return weight.float() + (up.float() @ down.float()) * self.scale


def read_lora(folder: str | Path) -> LoraWeights:
    """Read a LoRA folder: ``adapter_config.json``, ``adapter_model.*`` and LLaVA's ``non_lora_trainables.bin``.

    Source: PEFT's file format; haotian-liu/LLaVA@c121f04, llava/train/train.py, for the second file of weights.

    Raises:
        CheckpointError: if a file is missing or unreadable, or the LoRA is of a kind that is not merged by a sum.
    """
    folder = Path(folder)
    settings = _lora_settings(folder / "adapter_config.json")
    candidates = [folder / f"adapter_model{suffix}" for suffix in (".safetensors", ".bin")]
    files = [path for path in candidates if path.is_file()]
    if len(files) != 1:
        raise CheckpointError(f"`{folder}` must hold one adapter_model.safetensors or .bin, but holds {len(files)}.")
    files += [path for path in [folder / "non_lora_trainables.bin"] if path.is_file()]
    matrices: dict[str, dict[str, Tensor]] = defaultdict(dict)
    trained: dict[str, Tensor] = {}
    for path in files:
        shapes_in(path)  # a faulty file is told from here
        for key, tensor in tensors_in(path):
            found = _LORA_KEY.fullmatch(_without_prefix(key))
            target, name = (matrices[f"{found[1]}.weight"], found[2]) if found else (trained, _without_prefix(key))
            if "lora_" in name or name in target:
                fault = "stands there twice" if name in target else "is no plain LoRA matrix"
                raise CheckpointError(f"`{path}` holds `{key}`, which {fault}; merge the LoRA with PEFT itself.")
            target[name] = tensor
    rank, alpha = settings["r"], settings["lora_alpha"]
    return LoraWeights(
        updates={key: _matched_pair(key, pair, rank) for key, pair in matrices.items()},
        scale=alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank),
        trained=trained,
        base=str(settings.get("base_model_name_or_path") or "unknown"),
    )


def _lora_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings["r"] <= 0 or settings["lora_alpha"] <= 0:
            raise ValueError("`r` and `lora_alpha` must be positive")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"`{path}` must describe a LoRA, but cannot be used ({error!r}).") from error
    for name, plain in _PLAIN_LORA.items():
        value = settings.get(name)
        if value is not None and value not in plain:
            raise CheckpointError(
                f"`{path}` has `{name}: {value!r}`, under which a LoRA is more than a sum; merge it with PEFT's "
                "`merge_and_unload` and load the merged folder."
            )
    return settings


def _without_prefix(key: str) -> str:
    """Take off what PEFT's wrappers put before a key; LLaVA's own loader does the same."""
    bare = key.removeprefix("base_model.")
    return bare.removeprefix("model.") if bare != key or bare.startswith("model.model.") else bare


def _matched_pair(key: str, pair: Mapping[str, Tensor], rank: int) -> tuple[Tensor, Tensor]:
    if pair.keys() != {"A", "B"}:
        raise CheckpointError(f"The LoRA of `{key}` must have a matrix A and a matrix B, but has only {min(pair)}.")
    down, up = pair["A"], pair["B"]
    if down.ndim != 2 or up.ndim != 2 or (down.shape[0], up.shape[1]) != (rank, rank):
        raise CheckpointError(
            f"The LoRA of `{key}` must have rank {rank}, but A is {tuple(down.shape)} and B is {tuple(up.shape)}; "
            "an empty matrix was saved without gathering ZeRO-3's parts."
        )
    return down, up
