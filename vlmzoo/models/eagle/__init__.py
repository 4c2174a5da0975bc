"""Eagle: several encoders on one grid, one projector, one language model (arXiv:2408.15998)."""

from vlmzoo.models.eagle import family

__all__ = ["family"]
