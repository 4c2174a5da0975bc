"""Any function as a reward, named by module and name."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from vlmzoo.errors import ConfigError
from vlmzoo.scoring import SCORES

__all__ = ["PythonFunction"]


@SCORES.register(
    "python",
    source="verl, custom_reward_function; TRL, reward_funcs",
    tiny={"function": "operator:eq"},
)
@dataclass(frozen=True, kw_only=True)
class PythonFunction:
    """What a function of yours returns for ``(completion, reference, **options)``.

    Args:
        function: ``package.module:name``, importable where the run is started.
        options: further keyword arguments.

    Raises:
        ConfigError: if there is no such function.
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _call: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the function."""
        module, colon, name = self.function.partition(":")
        if not (module and colon and name):
            raise ConfigError(f"`function` must be `package.module:name`, but is {self.function!r} instead.")
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"`function` {self.function!r} cannot be found: {error}.") from error
        if not callable(found):
            raise ConfigError(f"`function` {self.function!r} must be callable, but is {found!r} instead.")
        object.__setattr__(self, "_call", cast("Callable[..., Any]", found))

    def __call__(self, completion: str, reference: Any) -> float:
        """Call the function; what it raises is raised."""
        return float(self._call(completion, reference, **self.options))
