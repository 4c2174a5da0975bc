"""Models in and out: build, load, push and verify.

Each name is fetched when it is first used, so that pushing a folder does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmzoo.hub.building import build_model
    from vlmzoo.hub.download import fetch_model
    from vlmzoo.hub.load import load_model
    from vlmzoo.hub.push import push_model
    from vlmzoo.hub.verify import verify_model

__all__ = ["build_model", "fetch_model", "load_model", "push_model", "verify_model"]

_HOMES = {
    "build_model": "building",
    "fetch_model": "download",
    "load_model": "load",
    "push_model": "push",
    "verify_model": "verify",
}


def __getattr__(name: str) -> Any:
    """Fetch a name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`; it offers {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
