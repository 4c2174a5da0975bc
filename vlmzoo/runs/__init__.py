"""Runs: what a configuration sets going, and the folder that it leaves behind."""

from vlmzoo.runs.agent_study import agent_study_run
from vlmzoo.runs.alignment import alignment_run
from vlmzoo.runs.evaluate import evaluate_run
from vlmzoo.runs.study import study_run
from vlmzoo.runs.sweep import sweep_run
from vlmzoo.runs.train import train_run

__all__ = ["agent_study_run", "alignment_run", "evaluate_run", "study_run", "sweep_run", "train_run"]
