"""Model families: composition only, one folder each, and the assembler that builds them from names."""

from typing import TYPE_CHECKING

from vlmzoo.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # takes seconds, and a check of names needs none of it

__all__ = ["FAMILIES"]

FAMILIES: Registry["PreTrainedModel"] = Registry("model family", "vlmzoo.models")
"""Each is built from an architecture's ``encoder``, ``projector`` and ``language_model``."""
