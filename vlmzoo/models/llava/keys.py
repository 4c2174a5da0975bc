"""Under which names the LLaVA family is published: the authors' own, the three of transformers, LISA's and SEAL's.

Ours are ``encoder.vision.*``, ``projector.*`` and ``language_model.*``. The last block and the last norm of CLIP, which
LLaVA does not read (``select_layer: -2``), are part of every release and of our model.
"""

from vlmzoo.models.keys import KeyTable, RowCut

__all__ = ["CLIP", "TABLES"]

_FREQUENCIES = "rotary frequencies, recomputed from the configuration"
_POSITIONS = "CLIP's position ids, which only count: 0, 1, 2, …"
_PADDED_VOCABULARY = RowCut(
    theirs=32064,
    ours=32000,
    reason="rows 32000 and 32001 are `<image>` and `<pad>`, the others pad to a multiple of 64; none is looked up",
)

_LLAVA = KeyTable(
    layout="llava",
    source="liuhaotian/llava-v1.5-*; haotian-liu/LLaVA@c121f04, llava/model/llava_arch.py",
    renames={
        "model.embed_tokens.{rest:path}": "language_model.model.embed_tokens.{rest:path}",
        "model.layers.{layer:int}.{rest:path}": "language_model.model.layers.{layer:int}.{rest:path}",
        "model.norm.{rest:path}": "language_model.model.norm.{rest:path}",
        "lm_head.{rest:path}": "language_model.lm_head.{rest:path}",
        "model.mm_projector.{rest:path}": "projector.{rest:path}",
        "model.vision_tower.vision_tower.vision_model.{rest:path}": "encoder.vision.{rest:path}",
    },
    drops={
        "model.layers.{layer:int}.self_attn.rotary_emb.inv_freq": _FREQUENCIES,
        "model.vision_tower.vision_tower.vision_model.embeddings.position_ids": _POSITIONS,
    },
)

_LLAVA_HF_4 = KeyTable(
    layout="llava_hf_4",
    source="llava-hf/llava-1.5-*-hf as published, the names of transformers 4.36 to 4.51; 5 keeps them on saving",
    renames={
        "language_model.model.{rest:path}": "language_model.model.{rest:path}",
        "language_model.lm_head.{rest:path}": "language_model.lm_head.{rest:path}",
        "multi_modal_projector.linear_1.{rest:path}": "projector.0.{rest:path}",
        "multi_modal_projector.linear_2.{rest:path}": "projector.2.{rest:path}",
        "vision_tower.vision_model.{rest:path}": "encoder.vision.{rest:path}",
    },
    drops={
        "language_model.model.layers.{layer:int}.self_attn.rotary_emb.inv_freq": _FREQUENCIES,
        "vision_tower.vision_model.embeddings.position_ids": _POSITIONS,
    },
    cuts={
        "language_model.model.embed_tokens.weight": _PADDED_VOCABULARY,
        "language_model.lm_head.weight": _PADDED_VOCABULARY,
    },
)

_LLAVA_HF_5 = KeyTable(
    layout="llava_hf_5",
    source="transformers 5, LlavaForConditionalGeneration in memory",
    renames={
        "model.language_model.{rest:path}": "language_model.model.{rest:path}",
        "lm_head.{rest:path}": "language_model.lm_head.{rest:path}",
        "model.multi_modal_projector.linear_1.{rest:path}": "projector.0.{rest:path}",
        "model.multi_modal_projector.linear_2.{rest:path}": "projector.2.{rest:path}",
        "model.vision_tower.{rest:path}": "encoder.vision.{rest:path}",
    },
    cuts={
        "model.language_model.embed_tokens.weight": _PADDED_VOCABULARY,
        "lm_head.weight": _PADDED_VOCABULARY,
    },
)

_LLAVA_HF_5_FILES = KeyTable(
    layout="llava_hf_5_files",
    source="transformers 5, save_pretrained of a LlavaForConditionalGeneration that no older file was loaded into",
    renames={
        "language_model.model.{rest:path}": "language_model.model.{rest:path}",
        "language_model.lm_head.{rest:path}": "language_model.lm_head.{rest:path}",
        "multi_modal_projector.linear_1.{rest:path}": "projector.0.{rest:path}",
        "multi_modal_projector.linear_2.{rest:path}": "projector.2.{rest:path}",
        "vision_tower.embeddings.{rest:path}": "encoder.vision.embeddings.{rest:path}",
        "vision_tower.encoder.{rest:path}": "encoder.vision.encoder.{rest:path}",
        "vision_tower.pre_layrnorm.{rest:path}": "encoder.vision.pre_layrnorm.{rest:path}",
        "vision_tower.post_layernorm.{rest:path}": "encoder.vision.post_layernorm.{rest:path}",
    },
    cuts=_LLAVA_HF_4.cuts,
)

_SAM_PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")
_RECIPE = "the recipe of the mask decoder holds it"

_LISA = KeyTable(
    layout="lisa",
    source="xinlai/LISA-*; dvlab-research/LISA@3cb2d43, model/LISA.py; what its merge script and zero_to_fp32 write",
    renames={
        **_LLAVA.renames,
        "model.text_hidden_fcs.0.{rest:path}": "adapters.seg.text_hidden_fcs.{rest:path}",
        **{
            f"model.visual_model.{part}.{{rest:path}}": f"adapters.seg.decoder.{part}.{{rest:path}}"
            for part in _SAM_PARTS
        },
    },
    drops={
        **_LLAVA.drops,
        "model.visual_model.pixel_mean": _RECIPE,
        "model.visual_model.pixel_std": _RECIPE,
    },
)

_DETECTOR_PARTS = ("owlvit", "visual_projection", "prompt_encoder", "mask_decoder")

_SEAL_VSM = KeyTable(
    layout="seal_vsm",
    source="craigwu/seal_vsm_7b; penghao-wu/vstar@4ede664, VisualSearch/model/VSM.py; what its merge script writes",
    renames={
        **_LLAVA.renames,
        **{f"model.{part}.{{rest:path}}": f"adapters.search.decoder.{part}.{{rest:path}}" for part in _DETECTOR_PARTS},
        **{
            f"model.text_hidden_fcs_{kind}.0.{{rest:path}}": f"adapters.search.text_hidden_fcs_{kind}.{{rest:path}}"
            for kind in ("det", "seg")
        },
    },
    drops={
        **_LLAVA.drops,
        "model.owlvit.vision_model.embeddings.position_ids": "OWL-ViT's position ids, which only count",
        "model.owlvit.box_bias": "computed from the grid",
    },
)

_SEAL_VQA = KeyTable(
    layout="seal_vqa",
    source="craigwu/seal_vqa_7b and FaST's switch; penghao-wu/vstar@4ede664, LLaVA/llava/model/llava_arch.py",
    renames={
        **_LLAVA.renames,
        "model.mm_projector_object.{rest:path}": "adapters.switch.projector.{rest:path}",
    },
    drops=_LLAVA.drops,
)

TABLES = {
    table.layout: table for table in (_LLAVA, _LLAVA_HF_4, _LLAVA_HF_5, _LLAVA_HF_5_FILES, _LISA, _SEAL_VSM, _SEAL_VQA)
}
"""The layouts that a card of this family may name."""

CLIP = KeyTable(
    layout="clip",
    source="openai/clip-vit-*; transformers, CLIPModel",
    renames={"vision_model.{rest:path}": "encoder.vision.{rest:path}"},
    drops={
        "vision_model.embeddings.position_ids": _POSITIONS,
        "text_model.{rest:path}": "CLIP's text half, which no LLaVA reads",
        "text_projection.weight": "CLIP's text half, which no LLaVA reads",
        "visual_projection.weight": "leads into the space shared with text, which no LLaVA reads",
        "logit_scale": "scales CLIP's own logits",
    },
)
"""For the encoder alone: authors who publish weights without it mean OpenAI's, unchanged."""
