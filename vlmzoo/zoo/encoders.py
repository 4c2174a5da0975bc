"""What image encoders are made of, as far as sizes go, by the type that a config names.

The defaults are those of the blocks; a test builds each block and compares.

Letters: D width of a token or channels of a map, F width inside a feed-forward part, A heads, P positions of a grid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isqrt
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.zoo.anatomy import ConvStack, Stack, clip_edges, clip_stack, linear, num_read

__all__ = ["EncoderFacts", "StackOnGrid", "encoder_facts"]

Spec = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StackOnGrid:
    """Equal blocks that work on one grid.

    Args:
        stack: the blocks.
        read: of which so many lie below the output.
        positions: that they work on, of one image.
    """

    stack: Stack | ConvStack
    read: int
    positions: int


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """One encoder.

    Args:
        stacks: its blocks, in order.
        edges: parameters outside the blocks.
        channels: of the feature map.
        grid_size: (h, w) of the feature map.
        image_size: (H, W) of the input, in pixels.
    """

    stacks: tuple[StackOnGrid, ...]
    edges: int
    channels: int
    grid_size: tuple[int, int]
    image_size: tuple[int, int]


def encoder_facts(spec: Spec) -> EncoderFacts:
    """Return what an encoder is made of.

    Args:
        spec: for the encoder registry.

    Raises:
        ConfigError: if no formula is known for this type.
    """
    if spec.get("type") not in _ENCODERS:
        raise ConfigError(
            f"`encoder` must be one whose size has a formula ({', '.join(_ENCODERS)}), but is `{spec.get('type')}` "
            "instead; add one to vlmzoo/zoo/encoders.py."
        )
    return _ENCODERS[spec["type"]](**{name: value for name, value in spec.items() if name != "type"})


def _clip(
    *,
    image_size: int = 336,
    patch_size: int = 14,
    hidden_size: int = 1024,
    intermediate_size: int = 4096,
    num_layers: int = 24,
    num_heads: int = 16,
    select_layer: int = -2,
    hidden_act: str = "quick_gelu",
    **_: Any,
) -> EncoderFacts:
    side = image_size // patch_size
    stack = clip_stack(
        width=hidden_size, inner=intermediate_size, num_layers=num_layers, num_heads=num_heads, activation=hidden_act
    )
    return EncoderFacts(
        stacks=(StackOnGrid(stack=stack, read=num_read(select_layer, num_layers), positions=side**2 + 1),),
        edges=clip_edges(width=hidden_size, image_size=image_size, patch_size=patch_size),
        channels=hidden_size,
        grid_size=(side, side),
        image_size=(image_size, image_size),
    )


def _clip_hr(*, image_size: int = 336, native_size: int = 336, patch_size: int = 14, **spec: Any) -> EncoderFacts:
    """CLIP without the class token among the positions; the edges hold it, and places for the native size."""
    facts = _clip(image_size=image_size, patch_size=patch_size, select_layer=-1, **spec)
    edges = clip_edges(width=facts.channels, image_size=native_size, patch_size=patch_size)
    side = image_size // patch_size
    return replace(facts, edges=edges, stacks=(replace(facts.stacks[0], positions=side**2),))


def _convnext(
    *,
    image_size: int | list[int] = 1024,
    depths: list[int] | tuple[int, ...] = (3, 4, 30, 3),
    dims: list[int] | tuple[int, ...] = (384, 768, 1536, 3072),
    num_classes: int = 0,
    **_: Any,
) -> EncoderFacts:
    """Stages of which each has half the side; between them a norm and a convolution of 2 x 2, before them of 4 x 4."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    edges = linear(3 * 4**2, dims[0]) + 2 * dims[0]
    edges += sum(2 * below + linear(4 * below, above) for below, above in pairwise(dims))
    edges += (2 * dims[-1] + linear(dims[-1], num_classes)) if num_classes else 0
    stacks = tuple(
        StackOnGrid(
            stack=ConvStack(width=dim, inner=4 * dim, num_layers=depth, kernel_size=7),
            read=depth,
            positions=(height >> (stage + 2)) * (width >> (stage + 2)),
        )
        for stage, (depth, dim) in enumerate(zip(depths, dims, strict=True))
    )
    shift = len(dims) + 1
    grid = (height >> shift, width >> shift)
    return EncoderFacts(
        stacks=stacks, edges=edges, channels=dims[-1], grid_size=grid, image_size=(int(height), int(width))
    )


def _sam_vit(
    *,
    image_size: int = 1024,
    patch_size: int = 16,
    hidden_size: int = 1024,
    intermediate_size: int = 4096,
    num_layers: int = 24,
    num_heads: int = 16,
    window_size: int = 14,
    global_layers: list[int] | tuple[int, ...] = (5, 11, 17, 23),
    neck_channels: int = 256,
    fold: int = 2,
    **_: Any,
) -> EncoderFacts:
    """Blocks that add learned biases to their scores, so that these are held: of windows, or of the whole grid."""
    side, num_global = image_size // patch_size, len(global_layers)
    stack = clip_stack(
        width=hidden_size, inner=intermediate_size, num_layers=num_layers, num_heads=num_heads, activation="gelu"
    )
    padded = -(-side // window_size) * window_size  # the windows fill it
    seen = {True: side**2, False: padded**2 * window_size**2 // side**2}  # by how many positions each is scored
    counts = {False: num_layers - num_global, True: num_global}
    stacks = tuple(
        StackOnGrid(stack=replace(stack, num_layers=count, scores=seen[is_global]), read=count, positions=side**2)
        for is_global, count in counts.items()
        if count
    )
    head_dim = hidden_size // num_heads
    biases = 2 * head_dim * sum((2 * (side if is_global else window_size) - 1) * n for is_global, n in counts.items())
    neck = hidden_size * neck_channels + 2 * neck_channels
    return EncoderFacts(
        stacks=stacks,
        edges=linear(3 * patch_size**2, hidden_size) + side**2 * hidden_size + biases + neck,
        channels=neck_channels * fold**2,
        grid_size=(side // fold, side // fold),
        image_size=(image_size, image_size),
    )


def _eva02_det(
    *,
    image_size: int = 1024,
    native_size: int = 224,
    patch_size: int = 16,
    hidden_size: int = 1024,
    num_layers: int = 24,
    num_heads: int = 16,
    mlp_ratio: float = 8 / 3,
    **_: Any,
) -> EncoderFacts:
    side = image_size // patch_size
    stack = Stack(
        width=hidden_size,
        inner=int(hidden_size * mlp_ratio),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=hidden_size // num_heads,
        norm="layer",
        feed_forward="gated",
        qkv_bias=True,
        key_bias=False,
        out_bias=True,
        inner_bias=True,
        inner_norm=True,
    )
    places = ((native_size // patch_size) ** 2 + 1) * hidden_size
    return EncoderFacts(
        stacks=(StackOnGrid(stack=stack, read=num_layers, positions=side**2),),
        edges=linear(3 * patch_size**2, hidden_size) + places,
        channels=hidden_size,
        grid_size=(side, side),
        image_size=(image_size, image_size),
    )


def _pix2struct(
    *,
    image_size: int = 1024,
    patch_size: int = 16,
    max_patches: int = 2048,
    hidden_size: int = 1536,
    intermediate_size: int = 3968,
    num_layers: int = 18,
    num_heads: int = 24,
    max_side: int = 4096,
    **_: Any,
) -> EncoderFacts:
    side = isqrt(max_patches)
    stack = Stack(
        width=hidden_size,
        inner=intermediate_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=hidden_size // num_heads,
        norm="rms",
        feed_forward="gated",
    )
    return EncoderFacts(
        stacks=(StackOnGrid(stack=stack, read=num_layers, positions=side**2),),
        edges=linear(3 * patch_size**2, hidden_size) + 2 * max_side * hidden_size + hidden_size,
        channels=hidden_size,
        grid_size=(side, side),
        image_size=(image_size, image_size),
    )


_ENCODERS: Mapping[str, Callable[..., EncoderFacts]] = {
    "clip": _clip,
    "clip_hr": _clip_hr,
    "convnext": _convnext,
    "eva02_det": _eva02_det,
    "pix2struct": _pix2struct,
    "sam_vit": _sam_vit,
}
