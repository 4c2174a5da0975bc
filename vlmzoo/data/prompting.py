"""From samples that end with a question to what ``generate`` takes, with the adapters' inputs.

Letters: B samples, T text positions.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from vlmzoo.data.collation import Collator
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.types import Sample

__all__ = ["prompt_inputs", "sampling_exclusions"]


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


def sampling_exclusions(processor: Any, *, keep: Collection[int] = ()) -> list[int]:
    """Return the ids that a model must not say: image placeholders and special tokens, the end of sequence excepted.

    A sampled placeholder would stand in the sequence without a visual feature behind it.

    Args:
        processor: its ``image_token_ids`` and its tokenizer's special tokens count.
        keep: further special tokens that may be said, e.g. those that an adapter waits for.
    """
    tokenizer = processor.tokenizer
    placeholders = {id for id in getattr(processor, "image_token_ids", ()) if id is not None}
    allowed = {tokenizer.eos_token_id, *keep}
    return sorted((placeholders | set(tokenizer.all_special_ids)) - allowed)
