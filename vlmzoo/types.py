"""Values that cross layers and hold no tensors: messages and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from vlmzoo.geometry import Box, Mask

__all__ = ["Content", "ImageLike", "Message", "Role", "Sample", "assistant", "user"]

Role: TypeAlias = Literal["system", "user", "assistant"]
ImageLike: TypeAlias = "Image | Path | str"
Content: TypeAlias = Mapping[str, Any]
"""``{"type": "text", "text": …}`` or ``{"type": "image"}``, the blocks of transformers' chat templates."""
Message: TypeAlias = Mapping[str, Any]
"""``{"role": Role, "content": [Content, …]}``."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One conversation with its images: what every reader gives and every collator takes.

    Args:
        messages: turns in order; ``{"type": "image"}`` blocks stand where images go.
        images: one for each image block, in the order of the blocks.
        id: unique within its source.
        reference: what a score compares a completion with; None where nothing is scored.
        masks: one for each ``[SEG]`` that the assistant says, in their order; each stands in the original frame of its
            image, the image that comes last before the token. An empty mask is one that nothing belongs to.
        ignored_masks: pixels that nobody judged (label 255 of data sets), one mask or None for each of ``masks``; empty
            where all are judged.
        rejected: the worse answer to the same question, whose better one is the last turn; None where nothing is
            compared.
        negative_images: pictures that contradict the better answer, one for each of ``images``; empty where there are
            none.
        boxes: one entry for each ``[LOC]`` that the assistant says, in their order: the boxes of the object in the
            original frame of its image, the image that comes last before the token; None where nobody drew any.
        heat_masks: likewise for each ``[LOC]``, the pixels of the object; None, or nothing at all, where nobody did.
        meta: anything else a report or a score wants to know, JSON-serialisable.
    """

    messages: Sequence[Message]
    images: Sequence[ImageLike] = ()
    id: str = ""
    reference: Any = None
    masks: Sequence["Mask"] = ()
    ignored_masks: Sequence["Mask | None"] = ()
    rejected: str | None = None
    negative_images: Sequence[ImageLike] = ()
    boxes: Sequence["Sequence[Box] | None"] = ()
    heat_masks: Sequence["Mask | None"] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def user(text: str, *, num_images: int = 0) -> Message:
    """Return a user turn with ``num_images`` images before the text."""
    images: list[Content] = [{"type": "image"} for _ in range(num_images)]
    return {"role": "user", "content": [*images, {"type": "text", "text": text}]}


def assistant(text: str) -> Message:
    """Return an assistant turn."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}
