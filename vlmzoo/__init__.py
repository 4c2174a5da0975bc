"""vlmzoo: vision-language models as bases with adapters, and the runs that train and measure them.

Importing this package loads nothing heavy: each name is fetched from its module when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmzoo.config import load_config
    from vlmzoo.hub import build_model, load_model, push_model, verify_model
    from vlmzoo.models.assembler import build_processor
    from vlmzoo.plugins import register
    from vlmzoo.zoo import list_models, model_info

__all__ = [
    "__version__",
    "build_model",
    "build_processor",
    "list_models",
    "load_config",
    "load_model",
    "model_info",
    "push_model",
    "register",
    "verify_model",
]

__version__ = "0.1.0"

_HOMES = {
    "build_model": "vlmzoo.hub",
    "build_processor": "vlmzoo.models.assembler",
    "list_models": "vlmzoo.zoo",
    "load_config": "vlmzoo.config",
    "load_model": "vlmzoo.hub",
    "model_info": "vlmzoo.zoo",
    "push_model": "vlmzoo.hub",
    "register": "vlmzoo.plugins",
    "verify_model": "vlmzoo.hub",
}


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module `vlmzoo` has no attribute `{name}`; it offers {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # the next use is a plain look-up
    return value


def __dir__() -> list[str]:
    """List the public names, so that completion finds them before they are fetched."""
    return sorted({*globals(), *__all__})
