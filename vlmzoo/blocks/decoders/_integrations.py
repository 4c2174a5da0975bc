"""The way to optional packages: they are met in ``vlmzoo.integrations``, which stands above and is known by address."""

import importlib
from typing import Any

__all__ = ["integration"]


def integration(name: str) -> Any:
    """Import a module of ``vlmzoo.integrations`` when a decoder needs it.

    Args:
        name: of the module, e.g. ``segment_anything``.
    """
    return importlib.import_module(f"vlmzoo.integrations.{name}")
