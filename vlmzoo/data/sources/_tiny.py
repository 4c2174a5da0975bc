"""Where the smallest examples of the file formats lie."""

from pathlib import Path

__all__ = ["TINY"]

TINY = Path(__file__).parent / "tiny"
