"""The worse answer itself as the description: for short answers, and for renderers that read objects out of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.services.describers import DESCRIBERS, DescribeItem, Description

__all__ = ["RejectedAnswerDescriber"]


@DESCRIBERS.register("rejected_answer", source="vlmzoo's own; OViP, arXiv:2505.15963, at small scale", tiny={})
class RejectedAnswerDescriber:
    """Hands the worse answer over."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its name."""
        return {"describer": "rejected_answer"}

    def check(self) -> None:
        """Nothing can be missing."""

    def describe(self, items: Sequence[DescribeItem]) -> list[Description]:
        """Describe pictures."""
        return [
            Description(text=text, reason="" if text else "an empty answer")
            for text in (item.rejected.strip() or None for item in items)
        ]
