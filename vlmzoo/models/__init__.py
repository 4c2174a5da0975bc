"""Model families: composition only, one folder each, and the assembler that builds them from names."""

from transformers import PreTrainedModel

from vlmzoo.registry import Registry

__all__ = ["FAMILIES"]

FAMILIES: Registry[PreTrainedModel] = Registry("model family", "vlmzoo.models")
"""Each is built from an architecture's ``encoder``, ``projector`` and ``language_model``."""
