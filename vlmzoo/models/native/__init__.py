"""Native bases: transformers' own models with room for adapters."""

from vlmzoo.models.native import family

__all__ = ["family"]
