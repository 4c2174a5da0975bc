"""Native bases: what transformers' own vision-language models are made of, from the fields of their configurations.

Letters: C width of the image encoder, D width of the language model, S side of the square of patches that is merged.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo.anatomy import Anatomy, Stack, clip_edges, clip_stack, language_stack, linear, num_read
from vlmzoo.zoo.card import NativeArchitecture
from vlmzoo.zoo.visual import ImageSize, Visual, count_tiles, resize_to_budget

__all__ = ["native_anatomy", "native_visual"]

Spec = Mapping[str, Any]


def native_anatomy(architecture: NativeArchitecture) -> Anatomy:
    """Return what a native base is made of.

    Raises:
        ConfigError: if no formula is known for its ``model_type``.
        KeyError: if its configuration lacks a field that the size depends on.
    """
    return _row(architecture)[0](architecture.config)


def native_visual(architecture: NativeArchitecture, image_size: ImageSize) -> Visual:
    """Return what becomes of one image of a native base.

    Raises:
        ConfigError: if no formula is known for its ``model_type``, or ``image_size`` is no size.
    """
    return _row(architecture)[1](architecture, image_size)


def _row(architecture: NativeArchitecture) -> tuple[Callable[..., Anatomy], Callable[..., Visual]]:
    name = architecture.model_type
    if name not in _NATIVE:
        raise ConfigError(
            f"`model_type` must be one whose size has a formula ({', '.join(_NATIVE)}), but is `{name}` instead; add "
            f"one to vlmzoo/zoo/native.py.{nearest_hint(name, _NATIVE)}"
        )
    return _NATIVE[name]


def _qwen2_vl(config: Spec) -> Anatomy:
    vision = config["vision_config"]
    width = vision["embed_dim"]
    encoder = _qwen_stack(
        vision, width=width, inner=int(width * vision["mlp_ratio"]), norm="layer", feed_forward="quick_gelu"
    )
    return _qwen(
        config,
        encoder,
        edges=_patches(vision, width),
        merger=2 * width + _merger(vision, width, vision["hidden_size"]),
        kept=4,
        language="qwen2",
    )


def _qwen2_5_vl(config: Spec) -> Anatomy:
    vision = config["vision_config"]
    width = vision["hidden_size"]
    encoder = _qwen_stack(vision, width=width, inner=vision["intermediate_size"], norm="rms", feed_forward="gated")
    return _qwen(
        config,
        encoder,
        edges=_patches(vision, width),
        merger=width + _merger(vision, width, vision["out_hidden_size"]),
        kept=5,
        language="qwen2",
    )


def _qwen3_vl(config: Spec) -> Anatomy:
    vision = config["vision_config"]
    width, num_deep = vision["hidden_size"], len(vision["deepstack_visual_indexes"])
    encoder = _qwen_stack(vision, width=width, inner=vision["intermediate_size"], norm="layer", feed_forward="gelu")
    merged = width * vision["spatial_merge_size"] ** 2
    linears = _merger(vision, width, vision["out_hidden_size"])
    return _qwen(
        config,
        encoder,
        edges=_patches(vision, width) + width + vision["num_position_embeddings"] * width,  # patches have a bias
        merger=2 * width
        + linears
        + num_deep * (2 * merged + linears),  # a deep merger's norm is as wide as S x S patches
        kept=4 + 3 * num_deep,  # a deep merger's norm reads what the next block reads anyway
        language="qwen3",
    )


def _qwen_stack(vision: Spec, *, width: int, inner: int, norm: Any, feed_forward: Any) -> Stack:
    num_heads = vision["num_heads"]
    return Stack(
        width=width,
        inner=inner,
        num_layers=vision["depth"],
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=width // num_heads,
        norm=norm,
        feed_forward=feed_forward,
        qkv_bias=True,
        out_bias=True,
        inner_bias=True,
        packed=True,
    )


def _patches(vision: Spec, width: int) -> int:
    return vision.get("in_channels", 3) * vision["temporal_patch_size"] * vision["patch_size"] ** 2 * width


def _merger(vision: Spec, width: int, out_width: int) -> int:
    """Parameters of the two matrices that make one token of S x S patches."""
    merged = width * vision["spatial_merge_size"] ** 2
    return linear(merged, merged) + linear(merged, out_width)


def _qwen(config: Spec, encoder: Stack, *, edges: int, merger: int, kept: int, language: str) -> Anatomy:
    vision, text = config["vision_config"], config["text_config"]
    return Anatomy(
        encoder=encoder,
        encoder_edges=edges,
        encoder_read=encoder.num_layers,
        projector=merger,
        projector_kept=kept * encoder.width * vision["spatial_merge_size"] ** 2,
        language_model=language_stack(text, model_type=language),
        vocab_size=text["vocab_size"],
        is_tied=config["tie_word_embeddings"],
    )


def _llava(config: Spec) -> Anatomy:
    vision, text = config["vision_config"], config["text_config"]
    encoder = clip_stack(
        width=vision["hidden_size"],
        inner=vision["intermediate_size"],
        num_layers=vision["num_hidden_layers"],
        num_heads=vision["num_attention_heads"],
        activation=vision.get("hidden_act", "quick_gelu"),
    )
    width = text["hidden_size"]
    return Anatomy(
        encoder=encoder,
        encoder_edges=clip_edges(width=encoder.width, image_size=vision["image_size"], patch_size=vision["patch_size"]),
        encoder_read=num_read(config["vision_feature_layer"], encoder.num_layers),
        projector=linear(encoder.width, width) + linear(width, width),
        projector_kept=encoder.width + 2 * width,
        language_model=language_stack(text, model_type=text.get("model_type", "llama")),
        vocab_size=text["vocab_size"],
        is_tied=config["tie_word_embeddings"],
    )


def _internvl(config: Spec) -> Anatomy:
    vision, text = config["vision_config"], config["text_config"]
    width, num_heads = vision["hidden_size"], vision["num_attention_heads"]
    (height_px, width_px), (patch_height, patch_width) = vision["image_size"], vision["patch_size"]
    num_patches = (height_px // patch_height) * (width_px // patch_width)
    encoder = Stack(
        width=width,
        inner=vision["intermediate_size"],
        num_layers=vision["num_hidden_layers"],
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=width // num_heads,
        norm="rms" if vision.get("norm_type") == "rms_norm" else "layer",
        feed_forward="gelu",
        qkv_bias=vision["attention_bias"],
        out_bias=True,
        inner_bias=True,
        qk_norm=width if vision.get("use_qk_norm") else 0,
        layer_scale=True,
    )
    merged = width * int(1 / config["downsample_ratio"]) ** 2
    out_width = text["hidden_size"]
    return Anatomy(
        encoder=encoder,
        encoder_edges=width + linear(3 * patch_height * patch_width, width) + (num_patches + 1) * width,
        encoder_read=num_read(config.get("vision_feature_layer", -1), encoder.num_layers),
        projector=2 * merged + linear(merged, out_width) + linear(out_width, out_width),
        projector_kept=2 * merged + 2 * out_width,
        language_model=language_stack(text, model_type=text.get("model_type", "qwen2")),
        vocab_size=text["vocab_size"],
        is_tied=config["tie_word_embeddings"],
    )


def _qwen_visual(architecture: NativeArchitecture, image_size: ImageSize) -> Visual:
    vision, budget = architecture.config["vision_config"], architecture.processor["pixels"]
    patch, side = vision["patch_size"], vision["spatial_merge_size"]
    height, width = resize_to_budget(
        image_size, factor=patch * side, min_pixels=budget["min"], max_pixels=budget["max"]
    )
    positions = (height // patch) * (width // patch)
    return Visual(tokens=positions // side**2, positions=positions, values=positions * _patches(vision, 1))


def _llava_visual(architecture: NativeArchitecture, image_size: ImageSize) -> Visual:
    vision = architecture.config["vision_config"]
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2
    return Visual(tokens=tokens, positions=tokens + 1, values=3 * vision["image_size"] ** 2)


def _internvl_visual(architecture: NativeArchitecture, image_size: ImageSize) -> Visual:
    config, tiling = architecture.config, architecture.processor["tiling"]
    vision = config["vision_config"]
    tiles = count_tiles(image_size, tile=tiling["size"], min_tiles=tiling["min_tiles"], max_tiles=tiling["max_tiles"])
    tiles += 1 if tiles > 1 else 0  # a thumbnail of the whole
    num_patches = (vision["image_size"][0] // vision["patch_size"][0]) * (
        vision["image_size"][1] // vision["patch_size"][1]
    )
    return Visual(
        tokens=int(tiles * num_patches * config["downsample_ratio"] ** 2),
        positions=tiles * (num_patches + 1),
        values=tiles * 3 * tiling["size"] ** 2,
    )


_NATIVE: Mapping[str, tuple[Callable[[Spec], Anatomy], Callable[[NativeArchitecture, ImageSize], Visual]]] = {
    "internvl": (_internvl, _internvl_visual),
    "llava": (_llava, _llava_visual),
    "qwen2_5_vl": (_qwen2_5_vl, _qwen_visual),
    "qwen2_vl": (_qwen2_vl, _qwen_visual),
    "qwen3_vl": (_qwen3_vl, _qwen_visual),
}
"""By transformers' ``model_type``: its parts, and what becomes of an image."""
