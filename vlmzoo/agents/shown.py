"""What an agent shows a model as evidence, in the one place where an audit may disturb it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image

from vlmzoo.geometry import Box, Mask

__all__ = ["Alter", "Shown"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One piece of evidence as a model is shown it.

    Args:
        name: of the object; empty where a region is shown for the whole question.
        text: where it is, in words.
        crop: its pixels.
        box: where it is, in the frame of the image.
        region: what was proposed, before a mask tightened it; ``box`` where there was no mask.
        mask: its pixels in the frame of the image; None where it was not segmented.
        picture: the image that it is a part of.
    """

    name: str
    text: str
    crop: Image.Image
    box: Box
    region: Box
    mask: Mask | None = None
    picture: Image.Image


Alter: TypeAlias = Callable[[Sequence[Sequence[Shown]]], Sequence[Sequence[Shown]]]
"""Gives other evidence in place of that of some questions, as many lists as it was given."""
