"""Where configurations lie: a path, ``./configs``, or the folder that travels in the wheel."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["config_roots", "find_config", "list_configs", "read_config_file"]

_SUFFIXES = (".yaml", ".yml", ".json")
_PACKAGE = Path(__file__).resolve().parents[1]


def config_roots() -> tuple[Path, ...]:
    """Return the folders that hold named configs, the nearest first.

    The wheel carries the repository's ``configs`` as ``vlmzoo/configs``; a checkout has them beside the package.
    """
    candidates = (Path("configs"), _PACKAGE / "configs", _PACKAGE.parent / "configs")
    return tuple(folder for folder in candidates if folder.is_dir())


def list_configs() -> list[str]:
    """Return the names that `find_config` understands, sorted, e.g. ``tiny/quickstart``."""
    names = {
        path.relative_to(root).with_suffix("").as_posix()
        for root in config_roots()
        for path in root.rglob("*")
        if path.suffix in _SUFFIXES[:2]  # the DeepSpeed JSON files lie there too
    }
    return sorted(names)


def find_config(name: str | Path, *, beside: Path | None = None) -> Path:
    """Turn what a person wrote into the path of a config file.

    Args:
        name: a path, or a name such as ``tiny/quickstart``; the suffix and a leading ``configs/`` may be left out.
        beside: a folder to look in first, for the ``base`` of another config.

    Raises:
        ConfigError: if there is no such file; the nearest name is in the message.
    """
    for path in _candidates(Path(name).expanduser(), beside):
        if path.is_file():
            return path
    plain = Path(name).with_suffix("").as_posix().removeprefix("configs/")
    roots = " or ".join(f"`{root}`" for root in config_roots()) or "a `configs` folder"
    raise ConfigError(
        f"`config` must be a YAML file, or a name under {roots}, but is `{name}` instead."
        f"{nearest_hint(plain, list_configs())}"
    )


def _candidates(name: Path, beside: Path | None) -> Iterator[Path]:
    inner = Path(*name.parts[1:]) if len(name.parts) > 1 and name.parts[0] == "configs" else name
    folders = [(beside, name), (Path(), name)] if beside is not None else [(Path(), name)]
    for folder, tail in [*folders, *((root, inner) for root in config_roots())]:
        yield folder / tail
        for suffix in _SUFFIXES:
            yield folder / tail.with_name(tail.name + suffix)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read one YAML or JSON file into a plain mapping; of a ``config.resolved.json``, the config in it.

    Raises:
        ConfigError: if the file is not UTF-8 YAML, repeats a key, or holds no mapping.
    """
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` must be YAML, but cannot be read: {' '.join(str(error).split())}.") from error
    except OSError as error:
        raise ConfigError(f"`{path}` must hold a mapping of names to values, but holds none: {error}.") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"`{path}` must hold a mapping of names to values, but holds {loaded!r} instead.")
    values = cast("dict[str, Any]", loaded)
    return cast("dict[str, Any]", values["config"]) if {"config", "versions"} <= values.keys() else values
