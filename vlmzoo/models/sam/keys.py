"""Under which names SAM is published: the authors' ``.pth`` files, and transformers' ``SamModel``.

Ours are the authors' own.
"""

from vlmzoo.models.keys import KeyTable

__all__ = ["TABLES"]

_ATTENTION = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
_TOP = ("image_encoder", "prompt_encoder", "mask_decoder")

_SAM = KeyTable(
    layout="sam",
    source="facebookresearch/segment-anything, sam_vit_{b,l,h}.pth",
    renames={f"{part}.{{rest:path}}": f"{part}.{{rest:path}}" for part in _TOP},
    drops={
        "pixel_mean": "the recipe of the decoder holds it",
        "pixel_std": "the recipe of the decoder holds it",
    },
)


def _encoder_renames() -> dict[str, str]:
    block, ours = "vision_encoder.layers.{layer:int}", "image_encoder.blocks.{layer:int}"
    renames = {
        "vision_encoder.pos_embed": "image_encoder.pos_embed",
        "vision_encoder.patch_embed.projection.{rest:path}": "image_encoder.patch_embed.proj.{rest:path}",
        f"{block}.layer_norm1.{{rest:path}}": f"{ours}.norm1.{{rest:path}}",
        f"{block}.layer_norm2.{{rest:path}}": f"{ours}.norm2.{{rest:path}}",
        f"{block}.attn.{{rest:path}}": f"{ours}.attn.{{rest:path}}",
        f"{block}.mlp.{{rest:path}}": f"{ours}.mlp.{{rest:path}}",
    }
    neck = ("conv1", "layer_norm1", "conv2", "layer_norm2")
    for number, name in enumerate(neck):
        renames[f"vision_encoder.neck.{name}.{{rest:path}}"] = f"image_encoder.neck.{number}.{{rest:path}}"
    return renames


def _prompt_renames() -> dict[str, str]:
    ours = "prompt_encoder"
    renames = {
        "prompt_encoder.shared_embedding.positional_embedding": (
            f"{ours}.pe_layer.positional_encoding_gaussian_matrix"
        ),
        "prompt_encoder.point_embed.{number:int}.{rest:path}": f"{ours}.point_embeddings.{{number:int}}.{{rest:path}}",
        "prompt_encoder.not_a_point_embed.{rest:path}": f"{ours}.not_a_point_embed.{{rest:path}}",
        "prompt_encoder.no_mask_embed.{rest:path}": f"{ours}.no_mask_embed.{{rest:path}}",
    }
    downscaling = {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}
    for number, name in downscaling.items():
        theirs = f"prompt_encoder.mask_embed.{name}.{{rest:path}}"
        renames[theirs] = f"{ours}.mask_downscaling.{number}.{{rest:path}}"
    return renames


def _decoder_renames() -> dict[str, str]:
    block = "mask_decoder.transformer.layers.{layer:int}"
    renames = {
        f"mask_decoder.{name}.{{rest:path}}": f"mask_decoder.{name}.{{rest:path}}"
        for name in ("iou_token", "mask_tokens", "transformer.final_attn_token_to_image")
    }
    renames["mask_decoder.transformer.layer_norm_final_attn.{rest:path}"] = (
        "mask_decoder.transformer.norm_final_attn.{rest:path}"
    )
    for name in (*_ATTENTION, "mlp"):
        renames[f"{block}.{name}.{{rest:path}}"] = f"{block}.{name}.{{rest:path}}"
    for number in range(1, 5):
        renames[f"{block}.layer_norm{number}.{{rest:path}}"] = f"{block}.norm{number}.{{rest:path}}"
    for number, name in {0: "upscale_conv1", 1: "upscale_layer_norm", 3: "upscale_conv2"}.items():
        renames[f"mask_decoder.{name}.{{rest:path}}"] = f"mask_decoder.output_upscaling.{number}.{{rest:path}}"
    heads = ("output_hypernetworks_mlps.{head:int}", "iou_prediction_head")
    for head in heads:
        for number, name in enumerate(("proj_in", "layers.0", "proj_out")):
            theirs = f"mask_decoder.{head}.{name}.{{rest:path}}"
            renames[theirs] = f"mask_decoder.{head}.layers.{number}.{{rest:path}}"
    return renames


_HF = KeyTable(
    layout="sam_hf",
    source="facebook/sam-vit-*; transformers, SamModel",
    renames={**_encoder_renames(), **_prompt_renames(), **_decoder_renames()},
    drops={
        "shared_image_embedding.positional_embedding": "the same matrix as the prompt encoder's",
    },
)

TABLES = {table.layout: table for table in (_SAM, _HF)}
"""The layouts that a decoder may be read from and written to."""
