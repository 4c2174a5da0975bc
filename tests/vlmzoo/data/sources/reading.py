"""What tests compare of a conversation."""

from pathlib import Path
from typing import Any

__all__ = ["names_of", "turns_of"]


def turns_of(sample: Any) -> list[tuple[str, str]]:
    """Return who says what, with `[image]` for images."""
    return [(message["role"], _text_of(message)) for message in sample.messages]


def names_of(sample: Any) -> list[str]:
    """Return the file names of the images."""
    return [Path(image).name for image in sample.images]


def _text_of(message: Any) -> str:
    return "".join("[image]" if block["type"] == "image" else block["text"] for block in message["content"])
