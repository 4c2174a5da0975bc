"""From a file and dotted overrides to a checked configuration, with every fault in one message."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from yaml import YAMLError

from vlmzoo.config.faults import find_placeholders, sentences_of
from vlmzoo.config.files import find_config, read_config_file
from vlmzoo.config.merging import merge
from vlmzoo.config.schema import RunConfig
from vlmzoo.errors import ConfigError

__all__ = ["check_config", "load_config", "parse_overrides"]

SchemaT = TypeVar("SchemaT", bound=BaseModel)

_LAUNCHER_FLAGS = ("--local_rank=", "--local-rank=")
"""What the DeepSpeed and older torch launchers append to a script's arguments; the environment says the same."""


@overload
def load_config(source: str | Path | Sequence[str], overrides: Sequence[str] = ()) -> RunConfig: ...


@overload
def load_config(
    source: str | Path | Sequence[str], overrides: Sequence[str] = (), *, schema: type[SchemaT]
) -> SchemaT: ...


def load_config(
    source: str | Path | Sequence[str], overrides: Sequence[str] = (), *, schema: type[BaseModel] = RunConfig
) -> BaseModel:
    """Read a config, lay it over its ``base``, lay the overrides over both, and check the result.

    Args:
        source: a path or name (see `find_config`), or a command line: the config first, then overrides.
        overrides: dotted paths with YAML values, e.g. ``optim.learning_rate=1e-4`` or ``report_to=[]``; an index
            addresses an element of a list, ``experience.source.levels.0=hard``.
        schema: what the result must look like.

    Raises:
        ConfigError: naming every fault, with its dotted path, the value, and the nearest name of a misspelt key.
    """
    if not isinstance(source, (str, Path)):
        words = [word for word in source if not word.startswith(_LAUNCHER_FLAGS)]
        if not words:
            raise ConfigError("A config must come first: a YAML file, or a name such as `tiny/quickstart`.")
        source, overrides = words[0], [*words[1:], *overrides]
    path = find_config(source)
    values = _with_base(read_config_file(path), path, schema)
    faults: list[str] = []
    for override in overrides:
        layer = _parse_override(override, faults)
        try:
            values = merge(values, layer, schema)
        except ConfigError as error:
            faults.append(f"`{override}` cannot be applied: {error}")
    return check_config(values, schema=schema, origin=str(path), faults=faults)


def check_config(
    values: Mapping[str, Any], *, schema: type[SchemaT], origin: str, faults: Iterable[str] = ()
) -> SchemaT:
    """Check a plain mapping against a schema.

    Args:
        values: as read from YAML.
        schema: what they must look like.
        origin: file or place they come from, for the message.
        faults: sentences already found, to be reported with the others.

    Raises:
        ConfigError: naming every fault.
    """
    sentences = [*faults, *find_placeholders(values)]
    try:
        config = schema.model_validate(values)
    except ValidationError as error:
        raise _all_faults(origin, sentences + sentences_of(error, values, schema)) from None
    if sentences:
        raise _all_faults(origin, sentences)
    return config


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Read ``a.b=1`` and the like into one mapping, for what has no schema of its own.

    Raises:
        ConfigError: naming every override that cannot be read or applied.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    for override in overrides:
        try:
            values = merge(values, _parse_override(override, faults))
        except ConfigError as error:
            faults.append(f"`{override}` cannot be applied: {error}")
    if faults:
        raise _all_faults("The command line", faults)
    return values


def _all_faults(origin: str, sentences: Sequence[str]) -> ConfigError:
    if len(sentences) == 1:
        return ConfigError(f"{origin}: {sentences[0]}")
    lines = "".join(f"\n  - {sentence}" for sentence in sentences)
    return ConfigError(f"{origin} has {len(sentences)} faults:{lines}")


def _with_base(values: Mapping[str, Any], path: Path, schema: type[BaseModel]) -> dict[str, Any]:
    """Lay a file over the one that its ``base`` names."""
    own = {key: value for key, value in values.items() if key != "base"}
    if "base" not in values:
        return own
    if not isinstance(values["base"], str):
        raise ConfigError(f"{path}: `base` must be a file or a name, but is {values['base']!r} instead.")
    base_path = find_config(values["base"], beside=path.parent)
    base = read_config_file(base_path)
    if "base" in base:
        raise ConfigError(
            f"{path}: `base` must be a config without a `base` of its own, but `{base_path}` starts from"
            f" `{base['base']}`; name that one, or copy what differs."
        )
    return cast("dict[str, Any]", merge(base, own, schema))


def _parse_override(override: str, faults: list[str]) -> dict[str, Any]:
    """Turn ``a.b=1`` into ``{"a": {"b": 1}}``; what cannot be read is noted in ``faults``."""
    key, separator, _ = override.partition("=")
    if not separator or not key.strip("-") or key.startswith("-"):
        faults.append(f"`{override}` must be an override such as `optim.learning_rate=1e-4`, without dashes.")
        return {}
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        faults.append(f"`{override}` must have a YAML value, but cannot be read: {' '.join(str(error).split())}.")
        return {}
    return cast("dict[str, Any]", parsed)
