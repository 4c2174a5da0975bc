"""Checkpoints: a model's folder and the state of a run, written whole or not at all."""

from vlmzoo.checkpoint.saving import export_layout, save_model
from vlmzoo.checkpoint.training import restore_training, save_training

__all__ = ["export_layout", "restore_training", "save_model", "save_training"]
