"""Checkpoints: what a model is on disk."""

from vlmzoo.checkpoint.saving import save_model

__all__ = ["save_model"]
