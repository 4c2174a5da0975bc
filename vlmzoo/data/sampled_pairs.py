"""Pairs whose answers are trained as they were drawn: ids behind their prompts, never tokenised again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from vlmzoo.data.preference_pairs import PairEncoder, without_images
from vlmzoo.data.preference_rows import PreferenceRow
from vlmzoo.errors import DataError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import ImageLike, Sample, assistant

__all__ = ["SampledPairEncoder"]


class SampledPairEncoder(PairEncoder):
    """Encodes pairs of a prompt with two answers whose ids are known.

    A sample ends with a user's turn; its ``meta["ids"]`` has ``chosen`` and ``rejected``, None for an answer that the
    policy did not draw, whose text ``meta["texts"]`` has.
    """

    def _check(self, sample: Sample) -> None:
        for which, ids in sample.meta["ids"].items():
            if ids is not None and not ids:
                raise DataError(f"The {which} answer of sample `{sample.id}` must have an id, but has none.")

    def _row(
        self, sample: Sample, row: PreferenceRow, images: Sequence[ImageLike], pictures: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        messages = list(sample.messages)
        if row.picture == "none":
            messages = [without_images(message) for message in messages]
        told = replace(sample, messages=messages, images=images, negative_images=(), meta={})
        ids = sample.meta["ids"][row.text]
        if ids is None:
            text = sample.meta["texts"][row.text]
            return self.processor.encode(replace(told, messages=[*messages, assistant(text)]), pictures=pictures)
        prompt = self.processor.encode_prompt(told, pictures=pictures)
        begun = prompt["input_ids"]
        encoded = {
            **prompt,
            "input_ids": [*begun, *ids],
            "labels": [IGNORED_LABEL] * len(begun) + list(ids),
        }
        if "mm_token_type_ids" in prompt:
            encoded["mm_token_type_ids"] = [*prompt["mm_token_type_ids"], *[0] * len(ids)]
        return encoded
