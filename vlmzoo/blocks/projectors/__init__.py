"""Projectors: from an encoder's channels to the width of the language model.

Letters: B images, N visual tokens, C channels of a feature, D width of a language-model token.
"""

from torch import nn

from vlmzoo.registry import Registry

__all__ = ["PROJECTORS"]

PROJECTORS: Registry[nn.Module] = Registry("projector", "vlmzoo.blocks.projectors")
"""Each is built with ``in_dim`` and ``out_dim`` and maps ``(B, N, C)`` to ``(B, N, D)``; one that makes a number of
tokens of its own says how many as ``num_latents``."""
