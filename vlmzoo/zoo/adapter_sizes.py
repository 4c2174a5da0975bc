"""Parameters of adapters with modules of their own, from a card alone.

Letters: D width of the language model's tokens, C width of a prompt, d width of the image encoder, g side of its grid.
"""

from collections.abc import Mapping
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.zoo.anatomy import linear
from vlmzoo.zoo.card import Card, NativeArchitecture

__all__ = ["count_adapter_parameters"]

Spec = Mapping[str, Any]

_SAM_SIZES: Mapping[str, Spec] = {
    "sam": {},
    "sam-vit-b": {"dim": 768, "depth": 12, "num_heads": 12, "global_blocks": (2, 5, 8, 11)},
    "sam-vit-l": {"dim": 1024, "depth": 24, "num_heads": 16, "global_blocks": (5, 11, 17, 23)},
    "sam-vit-h": {},
}
_SAM_DEFAULTS: Spec = {
    "image_size": 1024,
    "patch_size": 16,
    "dim": 1280,
    "depth": 32,
    "num_heads": 16,
    "mlp_ratio": 4.0,
    "global_blocks": (7, 15, 23, 31),
    "window_size": 14,
    "prompt_dim": 256,
    "decoder_depth": 2,
    "decoder_mlp_dim": 2048,
    "quality_dim": 256,
    "mask_channels": 16,
}

_OWLVIT_DEFAULTS: Spec = {
    "image_size": 768,
    "patch_size": 16,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_layers": 12,
    "query_dim": 512,
    "prompt_dim": 256,
    "decoder_depth": 2,
    "decoder_mlp_dim": 2048,
    "quality_dim": 256,
    "mask_channels": 16,
}


def count_adapter_parameters(card: Card) -> dict[str, int]:
    """Return the number of parameters of each adapter of a card, by its label.

    Raises:
        ConfigError: if no formula is known for one.
    """
    architecture = card.architecture
    is_native = isinstance(architecture, NativeArchitecture)
    width = int((architecture.config["text_config"] if is_native else architecture.language_model)["hidden_size"])
    counts: dict[str, int] = {}
    for spec in card.adapters:
        kind = str(spec.get("type"))
        if kind not in _FORMULAS:
            raise ConfigError(f"No formula is known for the size of an adapter `{kind}`; add one here.")
        counts[str(spec.get("name", kind))] = _FORMULAS[kind](spec, card, width)
    return {label: number for label, number in counts.items() if number}


def _seg(spec: Spec, card: Card, width: int) -> int:
    decoder = spec.get("decoder", "sam-vit-h")
    sizes: Spec = {"type": decoder} if isinstance(decoder, str) else decoder
    prompt: int = sizes.get("prompt_dim", _SAM_DEFAULTS["prompt_dim"])
    return linear(width, width) + linear(width, prompt) + _sam(sizes)


def _switch(spec: Spec, card: Card, width: int) -> int:
    """Norm, resampler and a linear layer, as wide as the encoder; none on bases without a short form."""
    if card.family != "llava" or isinstance(card.architecture, NativeArchitecture):
        return 0
    channels = int((card.architecture.encoder or {})["hidden_size"])
    inner = spec.get("head_dim", 96) * spec.get("num_heads", 16)
    attention = 4 * channels + channels * inner + 2 * channels * inner + inner * channels
    feed = 2 * channels + 8 * channels * channels
    resampler = (spec.get("num_latents", 32) + 1) * channels + spec.get("depth", 6) * (attention + feed) + 2 * channels
    return 2 * channels + resampler + linear(channels, width)


def _search(spec: Spec, card: Card, width: int) -> int:
    """Two projections, OWL-ViT's tower with its heads, and the decoder of heat maps."""
    sizes: Spec = {**_OWLVIT_DEFAULTS, **(spec.get("detector") or {})}
    dim, inner, query, prompt = (
        sizes[name] for name in ("hidden_size", "intermediate_size", "query_dim", "prompt_dim")
    )
    grid = sizes["image_size"] // sizes["patch_size"]
    block = 4 * linear(dim, dim) + linear(dim, inner) + linear(inner, dim) + 4 * dim
    tower = dim + 3 * sizes["patch_size"] ** 2 * dim + (grid * grid + 1) * dim + 4 * dim + sizes["num_layers"] * block
    heads = linear(dim, query) + 2 * linear(dim, 1) + 2 * linear(dim, dim) + linear(dim, 4) + 2 * dim
    decoder = dim * prompt + _prompt_encoder(sizes) + _mask_decoder(sizes) - _sam_upscaling(prompt) + _bilinear(prompt)
    projections = 2 * linear(width, width) + linear(width, query) + linear(width, prompt)
    return projections + tower + heads + decoder


def _roi(spec: Spec, card: Card, width: int) -> int:
    return 0


_FORMULAS = {"seg": _seg, "switch": _switch, "search": _search, "roi": _roi}


def _sam(spec: Spec) -> int:
    if spec["type"] not in _SAM_SIZES:
        raise ConfigError(f"No formula is known for the size of the mask decoder `{spec['type']}`; add one here.")
    sizes = {**_SAM_DEFAULTS, **_SAM_SIZES[spec["type"]], **spec}
    return _image_encoder(sizes) + _prompt_encoder(sizes) + _mask_decoder(sizes)


def _image_encoder(sizes: Spec) -> int:
    dim, patch, prompt = sizes["dim"], sizes["patch_size"], sizes["prompt_dim"]
    grid = sizes["image_size"] // patch
    inner, num_global = int(dim * sizes["mlp_ratio"]), len(sizes["global_blocks"])
    block = 4 * dim + linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, inner) + linear(inner, dim)
    sides = num_global * grid + (sizes["depth"] - num_global) * sizes["window_size"]
    positions = 2 * (2 * sides - sizes["depth"]) * (dim // sizes["num_heads"])
    neck = dim * prompt + 9 * prompt * prompt + 4 * prompt
    return linear(3 * patch * patch, dim) + grid * grid * dim + sizes["depth"] * block + positions + neck


def _prompt_encoder(sizes: Spec) -> int:
    prompt, wide = sizes["prompt_dim"], sizes["mask_channels"]
    narrow = wide // 4
    drawn = linear(4, narrow) + 2 * narrow + linear(4 * narrow, wide) + 2 * wide + linear(wide, prompt)
    return 6 * prompt + drawn


def _mask_decoder(sizes: Spec) -> int:
    prompt, quality = sizes["prompt_dim"], sizes["quality_dim"]
    half, eighth = prompt // 2, prompt // 8
    cross = 3 * linear(prompt, half) + linear(half, prompt)
    feed = linear(prompt, sizes["decoder_mlp_dim"]) + linear(sizes["decoder_mlp_dim"], prompt)
    block = 4 * linear(prompt, prompt) + 2 * cross + feed + 8 * prompt
    heads = 4 * (2 * linear(prompt, prompt) + linear(prompt, eighth))
    guess = linear(prompt, quality) + linear(quality, quality) + linear(quality, 4)
    return 5 * prompt + sizes["decoder_depth"] * block + cross + 2 * prompt + _sam_upscaling(prompt) + heads + guess


def _sam_upscaling(prompt: int) -> int:
    quarter, eighth = prompt // 4, prompt // 8
    return 4 * prompt * quarter + 3 * quarter + 4 * quarter * eighth + eighth


def _bilinear(prompt: int) -> int:
    quarter, eighth = prompt // 4, prompt // 8
    return linear(9 * prompt, quarter) + 2 * quarter + linear(9 * quarter, eighth)
