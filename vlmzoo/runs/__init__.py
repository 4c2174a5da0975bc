"""Runs: what a configuration sets going, and the folder that it leaves behind."""

from vlmzoo.runs.evaluate import evaluate_run
from vlmzoo.runs.train import train_run

__all__ = ["evaluate_run", "train_run"]
