"""Positions that jump now and then, so that a distance seen in training is not a length that must be kept.

Source: the idea is that of randomised positional encodings (Ruoss et al., arXiv:2305.16843), which draw all positions
anew; a few gaps leave most distances as they are, which small models learn sooner.
"""

import hashlib
import random
from collections.abc import Mapping
from typing import Any

from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.data.fetching import Encoder
from vlmzoo.errors import ConfigError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import Sample

__all__ = ["PositionGaps"]


class PositionGaps:
    """Encodes as a processor does, and adds ``position_ids`` with gaps in what the assistant says.

    A gap is a function of the row's ids and the seed, so that a resumed run and any number of workers see the same.

    Args:
        processor: encodes; its model must count positions along one axis.
        num: gaps of a row: one where its first answer begins, the others at tokens of answers drawn at random.
        longest: positions that a gap leaves out at most; each gap leaves out 0 to this many, equally likely.
        share: of rows that have gaps; the others count without any.
        seed: of the gaps.

    Raises:
        ConfigError: if a number is not positive, ``share`` is not within (0, 1], or the processor's model has several
            axes of positions.
    """

    def __init__(
        self, processor: Encoder, *, num: int = 2, longest: int = 16, share: float = 1.0, seed: int = 0
    ) -> None:
        for name, value in (("num", num), ("longest", longest)):
            if type(value) is not int or value < 1:
                raise ConfigError(f"`position_gaps.{name}` must be a positive number, but is {value!r} instead.")
        if not 0 < share <= 1:
            raise ConfigError(f"`position_gaps.share` must be above 0 and at most 1, but is {share!r} instead.")
        if getattr(processor, "return_mm_token_type_ids", False):
            raise ConfigError(
                "`position_gaps` need a model that counts positions along one axis, but this one finds its own from "
                "the kinds of tokens; use a composed base such as `llava`, or leave `position_gaps` out."
            )
        self.processor = processor
        self.num = num
        self.longest = longest
        self.share = share
        self.seed = seed

    @property
    def padding_id(self) -> int:
        """The id that fills gaps of a batch."""
        return self.processor.padding_id

    @property
    def adapter_inputs(self) -> Mapping[str, AdapterInputs]:
        """What makes the inputs of the attached adapters, by label."""
        return self.processor.adapter_inputs

    def encode(self, sample: Sample) -> dict[str, Any]:
        """Encode one sample; ``position_ids`` is a list of T ascending integers from 0.

        Raises:
            DataError: if the sample is corrupt.
        """
        encoded = self.processor.encode(sample)
        answered = [place for place, label in enumerate(encoded["labels"]) if label != IGNORED_LABEL]
        digest = hashlib.blake2b(repr((self.seed, encoded["input_ids"])).encode()).digest()
        generator = random.Random(digest)
        steps = [1] * len(encoded["input_ids"])
        if generator.random() < self.share:
            for place in [answered[0], *(generator.choice(answered) for _ in range(self.num - 1))]:
                steps[place] += generator.randint(0, self.longest)
        positions, position = [], -1
        for step in steps:
            position += step
            positions.append(position)
        return {**encoded, "position_ids": positions}
