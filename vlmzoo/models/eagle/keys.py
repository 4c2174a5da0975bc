"""Under which names the Eagle family is published.

Ours are ``encoders.{number}.vision.*``, ``projector.*`` and ``language_model.*``. Which encoder stands at which number
differs from release to release; what follows the number tells the encoders apart.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vlmzoo.models.keys import KeyTable

__all__ = ["TABLES", "TOWERS", "encoder_order", "explain"]

_FREQUENCIES = "rotary frequencies, recomputed from the configuration"
_THEIRS, _OURS = "model.vision_tower.vision_towers.{tower:int}.vision_tower.", "encoders.{tower:int}.vision."

_CLIP = {
    "vision_model.embeddings.class_embedding": "embeddings.class_embedding",
    "vision_model.embeddings.patch_embedding.{kind}": "embeddings.patch_embedding.{kind}",
    "vision_model.embeddings.position_embedding.{kind}": "embeddings.position_embedding.{kind}",
    "vision_model.pre_layrnorm.{kind}": "pre_layrnorm.{kind}",
    "vision_model.encoder.layers.{layer:int}.{rest:path}": "encoder.layers.{layer:int}.{rest:path}",
    "vision_model.post_layernorm.{kind}": "post_layernorm.{kind}",
}
_CONVNEXT_BLOCK = "stages.{stage:int}.blocks.{block:int}"
_CONVNEXT = {
    "stem.{place:int}.{kind}": "stem.{place:int}.{kind}",
    "stages.{stage:int}.downsample.{place:int}.{kind}": "stages.{stage:int}.downsample.{place:int}.{kind}",
    f"{_CONVNEXT_BLOCK}.weight": f"{_CONVNEXT_BLOCK}.gamma",
    f"{_CONVNEXT_BLOCK}.conv_dw.{{kind}}": f"{_CONVNEXT_BLOCK}.conv_dw.{{kind}}",
    f"{_CONVNEXT_BLOCK}.norm.{{kind}}": f"{_CONVNEXT_BLOCK}.norm.{{kind}}",
    f"{_CONVNEXT_BLOCK}.mlp.{{layer}}.{{kind}}": f"{_CONVNEXT_BLOCK}.mlp.{{layer}}.{{kind}}",
    "head.{rest:path}": "head.{rest:path}",
}
_SAM = {
    "patch_embed.projection.{kind}": "patch_embed.projection.{kind}",
    "layers.{layer:int}.{rest:path}": "layers.{layer:int}.{rest:path}",
    "neck.{rest:path}": "neck.{rest:path}",
}
_EVA_BLOCK = "blocks.{block:int}"
_EVA = {
    "patch_embed.proj.{kind}": "patch_embed.proj.{kind}",
    f"{_EVA_BLOCK}.norm1.{{kind}}": f"{_EVA_BLOCK}.norm1.{{kind}}",
    f"{_EVA_BLOCK}.norm2.{{kind}}": f"{_EVA_BLOCK}.norm2.{{kind}}",
    f"{_EVA_BLOCK}.attn.q_bias": f"{_EVA_BLOCK}.attn.q_proj.bias",
    f"{_EVA_BLOCK}.attn.v_bias": f"{_EVA_BLOCK}.attn.v_proj.bias",
    f"{_EVA_BLOCK}.attn.q_proj.weight": f"{_EVA_BLOCK}.attn.q_proj.weight",
    f"{_EVA_BLOCK}.attn.k_proj.weight": f"{_EVA_BLOCK}.attn.k_proj.weight",
    f"{_EVA_BLOCK}.attn.v_proj.weight": f"{_EVA_BLOCK}.attn.v_proj.weight",
    f"{_EVA_BLOCK}.attn.proj.{{kind}}": f"{_EVA_BLOCK}.attn.proj.{{kind}}",
    f"{_EVA_BLOCK}.mlp.w1.{{kind}}": f"{_EVA_BLOCK}.mlp.fc1_g.{{kind}}",
    f"{_EVA_BLOCK}.mlp.w2.{{kind}}": f"{_EVA_BLOCK}.mlp.fc1_x.{{kind}}",
    f"{_EVA_BLOCK}.mlp.ffn_ln.{{kind}}": f"{_EVA_BLOCK}.mlp.norm.{{kind}}",
    f"{_EVA_BLOCK}.mlp.w3.{{kind}}": f"{_EVA_BLOCK}.mlp.fc2.{{kind}}",
}
_PIX2STRUCT = {
    "embeddings.patch_projection.{kind}": "embeddings.patch_projection.{kind}",
    "embeddings.row_embedder.{kind}": "embeddings.row_embedder.{kind}",
    "embeddings.column_embedder.{kind}": "embeddings.column_embedder.{kind}",
    "encoder.layer.{layer:int}.{rest:path}": "encoder.layer.{layer:int}.{rest:path}",
    "layernorm.{kind}": "layernorm.{kind}",
}
_SHARED = {"pos_embed": "pos_embed"}  # of SAM and of EVA-02

TOWERS: Mapping[str, Mapping[str, str]] = {
    "clip_hr": _CLIP,
    "convnext": _CONVNEXT,
    "sam_vit": _SAM,
    "eva02_det": _EVA,
    "pix2struct": _PIX2STRUCT,
}
"""By our name of an encoder: its published names within a tower, and ours; what two of them share is left out."""


def _placed(rests: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {f"{_THEIRS}{theirs}": f"{_OURS}{ours}" for names in rests for theirs, ours in names.items()}


_EAGLE = KeyTable(
    layout="eagle",
    source="NVEagle/Eagle-X*; NVlabs/EAGLE@fef95f1, eagle/model/multimodal_encoder",
    renames={
        "model.embed_tokens.{rest:path}": "language_model.model.embed_tokens.{rest:path}",
        "model.layers.{layer:int}.{rest:path}": "language_model.model.layers.{layer:int}.{rest:path}",
        "model.norm.{rest:path}": "language_model.model.norm.{rest:path}",
        "lm_head.{rest:path}": "language_model.lm_head.{rest:path}",
        "model.mm_projector.{rest:path}": "projector.{rest:path}",
        **_placed([*TOWERS.values(), _SHARED]),
    },
    drops={
        "model.layers.{layer:int}.self_attn.rotary_emb.inv_freq": _FREQUENCIES,
        f"{_THEIRS}vision_model.embeddings.position_ids": "CLIP's position ids, which only count: 0, 1, 2, …",
        f"{_THEIRS}rope_win.{{kind}}": _FREQUENCIES,
        f"{_THEIRS}rope_glb.{{kind}}": _FREQUENCIES,
        f"{_THEIRS}blocks.{{block:int}}.attn.rope.{{kind}}": _FREQUENCIES,
    },
    unread={f"{_THEIRS}head.{{rest:path}}": "ConvNeXt's class head, which no Eagle reads"},
)

TABLES = {table.layout: table for table in (_EAGLE,)}
"""The layouts that a card of this family may name."""

_TELLING = {name: KeyTable(layout=name, source="", renames=_placed([names])) for name, names in TOWERS.items()}


def encoder_order(keys: Collection[str]) -> tuple[str, ...]:
    """Return our names of the encoders that a published checkpoint holds, in its order.

    Args:
        keys: published names.
    """
    found: dict[int, str] = {}
    for key in keys:
        for name, table in _TELLING.items():
            if table.knows(key):
                found[int(key.split(".")[3])] = name
    return tuple(found[number] for number in sorted(found))


def explain(model: Any, keys: Collection[str]) -> str:
    """Say whether a checkpoint that does not fit holds other encoders than the model, or the same in another order.

    Args:
        model: of this family.
        keys: published names.
    """
    ours, theirs = tuple(spec["type"] for spec in model.config.encoders), encoder_order(keys)
    if not theirs or ours == theirs:
        return ""
    what = "the same in another order" if sorted(ours) == sorted(theirs) else "others"
    return (
        f"The checkpoint's encoders are {', '.join(theirs)}, but the model's are {what}: {', '.join(ours)}; list them "
        "under `encoders` as the checkpoint has them."
    )
