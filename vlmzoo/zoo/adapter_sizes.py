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
        if spec.get("type") != "seg":
            raise ConfigError(f"No formula is known for the size of an adapter `{spec.get('type')}`; add one here.")
        decoder = spec.get("decoder", "sam-vit-h")
        sizes: Spec = {"type": decoder} if isinstance(decoder, str) else decoder
        prompt: int = sizes.get("prompt_dim", _SAM_DEFAULTS["prompt_dim"])
        counts[str(spec.get("name", "seg"))] = linear(width, width) + linear(width, prompt) + _sam(sizes)
    return counts


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
    half, quarter, eighth = prompt // 2, prompt // 4, prompt // 8
    cross = 3 * linear(prompt, half) + linear(half, prompt)
    feed = linear(prompt, sizes["decoder_mlp_dim"]) + linear(sizes["decoder_mlp_dim"], prompt)
    block = 4 * linear(prompt, prompt) + 2 * cross + feed + 8 * prompt
    upscaling = 4 * prompt * quarter + 3 * quarter + 4 * quarter * eighth + eighth
    heads = 4 * (2 * linear(prompt, prompt) + linear(prompt, eighth))
    guess = linear(prompt, quality) + linear(quality, quality) + linear(quality, 4)
    return 5 * prompt + sizes["decoder_depth"] * block + cross + 2 * prompt + upscaling + heads + guess
