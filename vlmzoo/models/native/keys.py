"""Under which names native bases are published: transformers' own in memory, and those of the files.

transformers renames by itself, when it loads and when it saves. These tables are for those who compare names without
reading weights, and for those who write a layout that others read. Each spells out the parts of its architectures, so
that a model is not written under names that nobody would read.
"""

from vlmzoo.models.keys import KeyTable
from vlmzoo.models.native.table import NATIVE

__all__ = ["TABLES"]

_CLIP_PARTS = ("embeddings", "pre_layrnorm", "encoder.layers", "post_layernorm")


def _moved(theirs: str, ours: str, *parts: str) -> dict[str, str]:
    """Return the renames of parts that keep their own names below another beginning."""
    return {f"{theirs}.{part}.{{rest:path}}": f"{ours}.{part}.{{rest:path}}" for part in parts}


def _unmoved() -> dict[str, str]:
    """Return renames that change nothing, one for each outermost part that a native base has."""
    prefixes = {prefix for base in NATIVE.values() for part in base.parts.values() for prefix in part}
    inner = {prefix for prefix in prefixes for other in prefixes - {prefix} if prefix.startswith(other)}
    return {f"{prefix}{{rest:path}}": f"{prefix}{{rest:path}}" for prefix in sorted(prefixes - inner)}


_IN_MEMORY = KeyTable(
    layout="transformers_5",
    source="transformers 5, state_dict() of the model; Qwen/Qwen3-VL-* is published under these names",
    renames=_unmoved(),
)

_QWEN2_VL = KeyTable(
    layout="qwen2_vl",
    source="Qwen/Qwen2-VL-* and Qwen/Qwen2.5-VL-* as published, the names of transformers 4.45 to 4.51; 5 writes them",
    renames={
        **_moved("model", "model.language_model", "embed_tokens", "layers", "norm"),
        **_moved("visual", "model.visual", "patch_embed", "blocks", "merger"),
        "lm_head.{rest:path}": "lm_head.{rest:path}",
    },
)

_LLAVA_RENAMES = {
    "language_model.model.{rest:path}": "model.language_model.{rest:path}",
    "language_model.lm_head.{rest:path}": "lm_head.{rest:path}",
    "multi_modal_projector.{rest:path}": "model.multi_modal_projector.{rest:path}",
}

_LLAVA_HF_4 = KeyTable(
    layout="llava_hf_4",
    source="llava-hf/llava-1.5-*-hf as published, the names of transformers 4.36 to 4.51; 5 keeps them on saving",
    renames={**_LLAVA_RENAMES, **_moved("vision_tower.vision_model", "model.vision_tower", *_CLIP_PARTS)},
    drops={
        "language_model.model.layers.{layer:int}.self_attn.rotary_emb.inv_freq": "rotary frequencies, recomputed",
        "vision_tower.vision_model.embeddings.position_ids": "CLIP's position ids, which only count",
    },
)

_LLAVA_HF_5_FILES = KeyTable(
    layout="llava_hf_5_files",
    source="transformers 5, save_pretrained of a LlavaForConditionalGeneration that no older file was loaded into",
    renames={**_LLAVA_RENAMES, **_moved("vision_tower", "model.vision_tower", *_CLIP_PARTS)},
)

_INTERNVL_HF = KeyTable(
    layout="internvl_hf",
    source="OpenGVLab/InternVL3*-HF as published, the names of transformers 4.52; 5 writes them, too",
    renames={
        **_LLAVA_RENAMES,
        **_moved("vision_tower", "model.vision_tower", "embeddings", "encoder.layer", "layernorm"),
    },
)

TABLES = {table.layout: table for table in (_IN_MEMORY, _QWEN2_VL, _LLAVA_HF_4, _LLAVA_HF_5_FILES, _INTERNVL_HF)}
"""The layouts that a card of a native base may name."""
