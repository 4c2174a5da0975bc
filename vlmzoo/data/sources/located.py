"""Segmentation sets as SEAL's search model learns from them: ``[LOC]`` with mask and box in place of ``[SEG]``."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from vlmzoo.data.sources import SOURCES, RowError, Source
from vlmzoo.data.sources._located import locate_turn
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.registry import NestedSpecs
from vlmzoo.types import Message, Sample

__all__ = ["LocatedMaskSource"]


@SOURCES.register(
    "located",
    source="V*, arXiv:2312.14135; penghao-wu/vstar@4ede664, VisualSearch/utils",
    tiny={"source": {"type": "refer_seg", "root": str(TINY / "lisa"), "dataset": "refcoco"}},
)
class LocatedMaskSource:
    """Asks for what a segmentation set asks for in SEAL's words; its masks become heat maps, their hulls boxes.

    Args:
        source: ``{type: refer_seg | paco_lvis | …}``, one whose samples have a mask and a phrase for each turn.
    """

    nested_specs: ClassVar[NestedSpecs] = {"source": SOURCES.check}

    def __init__(self, *, source: Mapping[str, Any]) -> None:
        self.source: Source = SOURCES.build(source)

    @property
    def size(self) -> int | None:
        """As many as the set has."""
        return self.source.size

    def sample(self, position: int) -> Sample:
        """Return one conversation.

        Raises:
            RowError: if the set has no mask for each phrase there.
        """
        plain = self.source.sample(position)
        phrases = plain.meta.get("phrases", ())
        if len(phrases) != len(plain.masks) or not phrases:
            raise RowError(
                f"sample `{plain.id}` must have a mask for each phrase, but has {len(plain.masks)} and {len(phrases)}; "
                "only segmentation sets can be located.",
                "missing field",
            )
        messages: list[Message] = []
        for number, phrase in enumerate(phrases):
            messages += locate_turn(str(phrase), num_images=int(number == 0))
        boxes = [mask.box() for mask in plain.masks]
        return replace(
            plain,
            messages=messages,
            masks=(),
            ignored_masks=(),
            boxes=[[] if box is None else [box] for box in boxes],
            heat_masks=list(plain.masks),
        )
