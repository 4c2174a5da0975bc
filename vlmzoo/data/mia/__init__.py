"""MIA-DPO's multi-image data: three layouts built from single-image conversations, and the selection of wrong answers.

Source: MIA-DPO, arXiv:2410.17637, and the data scripts of Liuziyu77/MIA-DPO@a85c51a.
"""

from typing import Literal, TypeAlias

__all__ = ["IMAGE_TAG", "LAYOUT_KINDS", "LayoutKind"]

IMAGE_TAG = "<image>"
"""Stands in a prompt where an image goes."""

LayoutKind: TypeAlias = Literal["sequence", "grid", "pic_in_pic"]
"""Several images one after the other; one collage of tiles; one image pasted over the middle of another."""

LAYOUT_KINDS: tuple[LayoutKind, ...] = ("sequence", "grid", "pic_in_pic")
