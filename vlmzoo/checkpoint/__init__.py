"""Checkpoints: a model's folder, written whole or not at all."""

from vlmzoo.checkpoint.saving import export_layout, save_model

__all__ = ["export_layout", "save_model"]
