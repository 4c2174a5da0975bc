"""From samples that end with a question to what ``generate`` takes, with the adapters' inputs.

Letters: B samples, T text positions.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from vlmzoo.data.collation import Collator
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.types import Sample

__all__ = ["awaited_ids", "end_ids", "prompt_inputs", "sampling_exclusions", "until_end"]


def prompt_inputs(
    processor: SampleEncoding, samples: Sequence[Sample], *, device: torch.device | str, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the arguments of ``generate`` for B samples.

    Args:
        processor: of the model.
        samples: each ends with a user's turn.
        device: of the model.
        dtype: of the model's pictures; what adapters take keeps its own.

    Returns:
        ``input_ids`` and ``attention_mask`` ``(B, T)``, padded on the left, pictures, and the adapters' inputs.

    Raises:
        DataError: if a sample does not end with a question, or its images cannot be used.
    """
    rows = [processor.encode_prompt(sample) for sample in samples]
    adapters = processor.adapter_inputs
    batch = Collator(pad_token_id=processor.padding_id, side="left", adapter_inputs=adapters)(rows).to(device)
    inputs = {name: value for name, value in batch.inputs.items() if name != "labels"}
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    return inputs


def end_ids(model: Any, processor: Any) -> set[int]:
    """Return every id that ends a completion: those of the model's generation configuration, and the tokenizer's."""
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    declared = declared if isinstance(declared, (list, tuple)) else [declared]
    return {id for id in (*declared, processor.tokenizer.eos_token_id) if id is not None}


def until_end(ids: Sequence[int], ends: Collection[int]) -> list[int]:
    """Return the ids up to and with the first that ends a completion; what follows is padding."""
    end = next((place + 1 for place, id in enumerate(ids) if id in ends), len(ids))
    return list(ids[:end])


def awaited_ids(model: Any, processor: Any) -> set[int]:
    """Return the ids that adapters wait for: those of the model, and those that its processor knows of.

    A processor that transformers' own ``AutoProcessor`` has loaded knows of none.
    """
    tokens = getattr(processor, "adapter_tokens", ())
    known = processor.tokenizer.convert_tokens_to_ids(list(tokens)) if tokens else []
    return {*known, *getattr(model, "token_ids", {}).values()}


def sampling_exclusions(processor: Any, *, keep: Collection[int] = ()) -> list[int]:
    """Return the ids that a model must not say: image placeholders and special tokens, the end of sequence excepted.

    A sampled placeholder would stand in the sequence without a visual feature behind it.

    Args:
        processor: its placeholders and its tokenizer's special tokens count.
        keep: further special tokens that may be said, e.g. those that an adapter waits for.
    """
    tokenizer = processor.tokenizer
    declared = [getattr(processor, name, None) for name in ("image_token_id", "video_token_id")]
    placeholders = {id for id in (*getattr(processor, "image_token_ids", ()), *declared) if id is not None}
    allowed = {tokenizer.eos_token_id, *keep}
    return sorted((placeholders | set(tokenizer.all_special_ids)) - allowed)
