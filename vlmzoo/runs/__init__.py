"""Runs: what a configuration sets going, and the folder that it leaves behind.

Each name is fetched when it is first used, so that a dry run does not load what trains.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmzoo.runs.agent_study import agent_study_run
    from vlmzoo.runs.alignment import alignment_run
    from vlmzoo.runs.evaluate import evaluate_run
    from vlmzoo.runs.study import study_run
    from vlmzoo.runs.sweep import sweep_run
    from vlmzoo.runs.train import train_run

__all__ = ["agent_study_run", "alignment_run", "evaluate_run", "study_run", "sweep_run", "train_run"]


def __getattr__(name: str) -> Any:
    """Fetch a name from its module (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`; it offers {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"{__name__}.{name.removesuffix('_run')}"), name)
