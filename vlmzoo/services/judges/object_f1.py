"""A judge without a model: ten times the F1 of the objects that answer and reference name."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.data.icons import icons_in
from vlmzoo.errors import ConfigError
from vlmzoo.scoring.hallucination import object_f1
from vlmzoo.services.judges import JUDGES, JudgeItem, Verdict

__all__ = ["ObjectF1Judge"]


@JUDGES.register("object_f1", source="vlmzoo's own; OViP, arXiv:2505.15963, at small scale", tiny={})
class ObjectF1Judge:
    """Reads icons, or words of a list, out of both texts; an answer that names no object gets 0.

    Args:
        words: what counts as an object; None for icons (``vlmzoo.data.icons``).
        noise: half-width of what is added to a score before it is rounded, the same for equal texts.
        invalid: share of answers that it cannot judge, the same for equal texts; for tests of what follows.

    Raises:
        ConfigError: if a number is out of range, or the list is empty.
    """

    def __init__(self, *, words: Sequence[str] | None = None, noise: float = 0.0, invalid: float = 0.0) -> None:
        if noise < 0 or not 0 <= invalid <= 1:
            raise ConfigError(f"`noise` must be zero or more, `invalid` within [0, 1], but are {noise} and {invalid}.")
        if words is not None and not words:
            raise ConfigError("`words` of the judge must name objects, or be null for icons, but is empty.")
        self.words = None if words is None else [word.lower() for word in words]
        self.noise, self.invalid = noise, invalid

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its options."""
        return {"judge": "object_f1", "words": self.words, "noise": self.noise, "invalid": self.invalid}

    def check(self) -> None:
        """Nothing can be missing."""

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """Judge answers."""
        return [self._verdict(item) for item in items]

    def _verdict(self, item: JudgeItem) -> Verdict:
        draw = random.Random(f"{item.question}\0{item.response}\0{item.reference}")
        if draw.random() < self.invalid:
            return Verdict(score=None, reason="invalid by request")
        said, there = set(self._objects(item.response)), set(self._objects(item.reference))
        right = len(said & there)
        f1 = object_f1(right / len(said) if said else 0.0, right / len(there) if there else 0.0)
        return Verdict(score=float(min(10, max(0, round(10 * f1 + draw.uniform(-self.noise, self.noise))))))

    def _objects(self, text: str) -> list[str]:
        if self.words is None:
            return icons_in(text)
        lowered = text.lower()
        return [word for word in self.words if word in lowered]
