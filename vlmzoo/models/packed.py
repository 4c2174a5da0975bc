"""Packed sequences in a model: every row sees itself alone and counts its own positions.

A packed batch (`vlmzoo.data.packing`) is one sequence of R rows without gaps. Attention over it as a whole would cost
the square of its length, most of it for pairs that are masked; here it costs the sum of the squares of the rows.

Letters: R rows, B sequences, T text positions, H heads, D width of a head.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlmzoo.data.packing import Segments
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.outputs import IGNORED_LABEL

__all__ = ["PACKED_SDPA", "check_packable", "enable_packing", "packed_sdpa", "place_rows", "split_context"]

PACKED_SDPA = "packed_sdpa"
"""transformers' name of :func:`packed_sdpa`; it is `sdpa` wherever a batch is not packed."""

_LAYERS = {"full_attention", "sliding_attention"}


def packed_sdpa(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attend within each row of a packed sequence, and as transformers' `sdpa` does in any other batch.

    The rows arrive in the place of the mask, so that layers which are computed again in the backward pass see them,
    too, and nothing has to be remembered between calls.

    Args:
        module: the attention layer.
        query: ``(1, H, T, D)``.
        key: ``(1, H or fewer, T, D)``.
        value: likewise.
        attention_mask: ``(1, 1, 1, R + 1)`` in int32, where each row begins and the last one ends; or a mask.
        kwargs: what the layer tells further; ``sliding_window`` is heeded.

    Returns:
        ``(1, T, H, D)``, and no weights.
    """
    if attention_mask is None or attention_mask.dtype != torch.int32:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    lengths = [end - start for start, end in pairwise(attention_mask.flatten().tolist())]
    rows = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    window = kwargs.get("sliding_window")
    attended = [
        sdpa_attention_forward(module, own_query, own_key, own_value, _window_mask(own_query, window), **kwargs)[0]
        for own_query, own_key, own_value in rows
    ]
    return torch.cat(attended, dim=1), None


def _window_mask(query: Tensor, window: int | None) -> Tensor | None:
    """Return the mask of a row that is longer than the window its layer looks back; None for plain causality."""
    length = query.shape[2]
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=query.device)
    back = place[:, None] - place  # (T, T), how far a key lies before a query
    return ((back >= 0) & (back < window))[None, None]


AttentionInterface.register(PACKED_SDPA, packed_sdpa)
AttentionMaskInterface.register(PACKED_SDPA, sdpa_mask)


def check_packable(model: Any) -> None:
    """Say whether rows can be kept apart in a base.

    Raises:
        ConfigError: if they cannot, with the reason.
    """
    decoder = model.get_decoder()
    reason = _reason_against(decoder)
    if reason is not None:
        raise ConfigError(
            f"Rows cannot be packed for a language model of type `{decoder.config.model_type}`: {reason}. Switch "
            "packing off; rows of similar length are then padded."
        )


def _reason_against(decoder: Any) -> str | None:
    config = decoder.config
    others = sorted(set(getattr(config, "layer_types", None) or ()) - _LAYERS)
    if others:
        return f"its layers of kind `{others[0]}` would carry what they saw from one row into the next"
    if decoder._is_stateful:
        return "its state would run on from one row into the next"
    if not getattr(config, "is_causal", True) or getattr(config, "use_bidirectional_attention", None):
        return "its attention is not causal"
    if not decoder._can_set_attn_implementation():
        return "its attention takes no function from outside that could keep rows apart"
    return None


def enable_packing(model: Any) -> None:
    """Make attention over packed sequences cheap: replace `sdpa` in the language model by :func:`packed_sdpa`.

    Results stay as they are, and batches that are not packed go the same way as before. `flash_attention_2` and
    `flex_attention` keep rows apart by themselves; `eager` does so at the full cost.

    Args:
        model: a base, with or without adapters.

    Raises:
        ConfigError: if rows cannot be kept apart in it.
    """
    check_packable(model)
    decoder = model.get_decoder()
    if decoder.config._attn_implementation == "sdpa":
        decoder.set_attn_implementation(PACKED_SDPA)


def place_rows(
    model: Any,
    segments: Segments,
    *,
    input_ids: Tensor | None,
    position_ids: Tensor,
    mm_token_type_ids: Tensor | None = None,
    image_grid_thw: Tensor | None = None,
    video_grid_thw: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor | None, Tensor]:
    """Tell the decoder of a base where the rows of a packed batch stand.

    Args:
        model: the base.
        segments: the rows.
        input_ids: ``(1, T)``.
        position_ids: ``(1, T)``, starting anew with each row.
        mm_token_type_ids: ``(1, T)``, 1 at visual tokens, for bases with multimodal rotary positions.
        image_grid_thw: ``(images, 3)``, patches of each image along time, height and width, likewise.
        video_grid_thw: likewise.
        others: further inputs, which say nothing of places.

    Returns:
        What stands in the place of the attention mask, and the positions: ``(1, T)``, or ``(4, 1, T)`` for
        multimodal rotary ones (Qwen2-VL, arXiv:2409.12191, section 2.1), the text positions before them.

    Raises:
        ShapeError: if images are given without the ids and types of the tokens.
    """
    is_ours = model.get_decoder().config._attn_implementation == PACKED_SDPA
    mask = segments.bounds.view(1, 1, 1, -1) if is_ours else None
    inner = getattr(model, "model", None)
    if not hasattr(inner, "get_rope_index") or position_ids.ndim == 3:
        return mask, position_ids
    grids = {"image_grid_thw": image_grid_thw, "video_grid_thw": video_grid_thw}
    rotary = position_ids.expand(3, 1, -1)  # all three axes count text alike
    if any(grid is not None for grid in grids.values()):
        if input_ids is None or mm_token_type_ids is None:
            raise ShapeError("A packed batch with images must have `input_ids` and `mm_token_type_ids`, but lacks one.")
        rotary = _rotary_positions(inner, segments, input_ids, mm_token_type_ids, grids)
    return mask, torch.cat([position_ids[None], rotary])


def _rotary_positions(
    inner: Any, segments: Segments, input_ids: Tensor, types: Tensor, grids: Mapping[str, Tensor | None]
) -> Tensor:
    """Compute multimodal rotary positions ``(3, 1, T)`` for each row by itself."""
    found, _ = inner.get_rope_index(
        segments.split(input_ids),
        mm_token_type_ids=segments.split(types),
        attention_mask=segments.mask(input_ids.device),
        **grids,
    )  # (3, R, longest row)
    return torch.stack([segments.join(axis) for axis in found])


def split_context(segments: Segments, context: Mapping[str, Tensor | None], device: torch.device) -> dict[str, Any]:
    """Give every row of a packed batch a line of its own, as adapters know batches.

    Args:
        segments: the rows.
        context: ``input_ids`` and ``labels`` of shape ``(1, T)``, or None.
        device: where the mask is to be.

    Returns:
        The same with shape ``(R, longest row)``, and the ``attention_mask`` of the rows.
    """
    fills = {"labels": IGNORED_LABEL}
    split = {
        name: None if value is None else segments.split(value, fill=fills.get(name, 0))
        for name, value in context.items()
        if name != "attention_mask"
    }
    return {**split, "attention_mask": segments.mask(device)}
