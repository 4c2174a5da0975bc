"""Strings that released checkpoints and data sets were trained with, one YAML file for each system."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["load_prompts"]


@cache
def load_prompts(system: str) -> Mapping[str, Any]:
    """Read the strings of one system.

    The mapping is read once and shared: treat it as read-only.

    Args:
        system: name of a file beside this module, without ``.yaml``, e.g. ``"s2h"``.

    Returns:
        The file's mapping; its ``source`` names repository, commit and licence.

    Raises:
        ConfigError: if there is no such file; the nearest name is in the message.
    """
    folder = files(__name__)
    known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if system not in known:
        raise ConfigError(
            f"`system` must be one of {', '.join(known)}, but is {system!r} instead.{nearest_hint(system, known)}"
        )
    return yaml.safe_load(folder.joinpath(f"{system}.yaml").read_text(encoding="utf-8"))
