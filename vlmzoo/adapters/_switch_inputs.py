"""What the switch adapter wants of the data: which images have a short form, and how many tokens that is.

Letters: I pictures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlmzoo.data.adapter_inputs import AdapterBatch, AdapterInputs
from vlmzoo.errors import DataError
from vlmzoo.types import Sample

__all__ = ["INPUT_NAME", "SwitchInputs"]

INPUT_NAME = "switch_is_long"

_FORMS = ("long", "short")


class SwitchInputs(AdapterInputs):
    """Reads the forms of images off their blocks: ``{"type": "image", "form": "short"}``; without one they are long.

    Args:
        num_latents: tokens of the short form; None for a base that has no such form, whose images are all as ever.
    """

    def __init__(self, *, num_latents: int | None) -> None:
        self.num_latents = num_latents

    @property
    def shapes_prompts(self) -> bool:
        """Whether images have forms, by which placeholders are expanded."""
        return self.num_latents is not None

    def image_token_counts(self, sample: Sample) -> Sequence[int | None]:
        """Return the tokens of each image that is short."""
        if self.num_latents is None:
            return ()
        return [self.num_latents if form == "short" else None for form in _forms(sample)]

    def encode(self, sample: Sample) -> Mapping[str, Any]:
        """Return one row.

        Raises:
            DataError: if a form is neither long nor short.
        """
        return {"is_long": [form == "long" for form in _forms(sample)]}

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> AdapterBatch:
        """Put rows together: the input ``switch_is_long`` ``(I,)``, in the order of the images."""
        if self.num_latents is None:
            return AdapterBatch()
        flat = [is_long for row in rows for is_long in row["is_long"]]
        return AdapterBatch(inputs={INPUT_NAME: torch.tensor(flat, dtype=torch.bool)})


def _forms(sample: Sample) -> list[str]:
    forms = [
        str(block.get("form", "long"))
        for message in sample.messages
        if not isinstance(message["content"], str)
        for block in message["content"]
        if block.get("type") == "image"
    ]
    unknown = next((form for form in forms if form not in _FORMS), None)
    if unknown is not None:
        raise DataError(f"The `form` of an image of sample `{sample.id}` must be long or short, but is {unknown!r}.")
    return forms
