"""A second model that works beside the one that is measured, such as the one that searches for it."""

import importlib
from typing import Any

__all__ = ["further_model"]


def further_model(path: str, *, beside: Any) -> Any:
    """Load a folder or Hub id onto the device of another model; see ``vlmzoo.load_model``.

    Loading stands above models and evaluation, so it is found by its address, as a plug-in's table is.

    Raises:
        CheckpointError: if it cannot be loaded whole.
    """
    hub: Any = importlib.import_module("vlmzoo.hub")
    return hub.load_model(path, device=str(beside.device))[0]
