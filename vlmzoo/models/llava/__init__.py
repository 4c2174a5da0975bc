"""LLaVA: one encoder, one projector, one language model (arXiv:2304.08485, 2310.03744)."""

from vlmzoo.models.llava import family

__all__ = ["family"]
