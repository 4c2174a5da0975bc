"""What an adapter wants of the data: inputs beside tokens and pictures, made without any weights.

Letters: B sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vlmzoo.types import Sample

__all__ = ["AdapterBatch", "AdapterInputs"]


@dataclass(frozen=True, kw_only=True)
class AdapterBatch:
    """What an adapter makes of the rows of one micro-batch.

    Args:
        inputs: keyword arguments of the model's forward, under the adapter's ``input_names``.
        targets: what its loss terms compare with; the model does not see them.
        counts: this micro-batch's share of denominators, under the same names on every rank and in every batch.
    """

    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)


class AdapterInputs:
    """Makes an adapter's inputs from samples; holds no weights, so that data workers can carry it."""

    @property
    def shapes_prompts(self) -> bool:
        """Whether a prompt is another without it, so that a model must be asked with its inputs, whatever is wanted."""
        return False

    def prepare(self, sample: Sample) -> Sample:
        """Return the sample as the model is to see it: the adapter's prompt protocol. The default changes nothing."""
        return sample

    def image_token_counts(self, sample: Sample) -> Sequence[int | None]:
        """Return how many visual tokens stand for each image of a sample, None where it is as many as ever.

        The default, an empty list, leaves all images as they are.
        """
        return ()

    def encode(self, sample: Sample) -> Mapping[str, Any]:
        """Return one row of what the adapter needs beside tokens and pictures."""
        return {}

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> AdapterBatch:
        """Put B rows together."""
        return AdapterBatch()
