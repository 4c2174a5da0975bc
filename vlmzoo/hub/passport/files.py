"""Passports on disk: one JSON file, beside a model's weights or, for the zoo's own, in the package."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.zoo import load_card

__all__ = ["FORMAT", "PASSPORT", "SHIPPED", "read_passport", "shipped_passport", "write_passport"]

PASSPORT = "passport.json"
"""The file in a model's folder."""

FORMAT = 1
SHIPPED = Path(__file__).parent / "entries"
_SECTIONS = ("about", "versions", "format")


def shipped_passport(name: str) -> dict[str, Any]:
    """Return the record of a zoo entry: ``card`` and ``twin``.

    Raises:
        RegistryError: if the zoo has no such card.
        CheckpointError: if the package holds no record of it.
    """
    load_card(name)
    path = SHIPPED / f"{name}.json"
    if not path.is_file():
        raise CheckpointError(
            f"The zoo's `{name}` has no passport; `vlmzoo verify {name} --make --out {SHIPPED}` writes it."
        )
    record = _read(path)
    twin = record["twin"]
    first = SHIPPED / f"{twin}.json"  # the twin of several cards is kept once
    held = _read(first)["twin"] if isinstance(twin, str) else twin
    return {"card": _checked(record["card"], path), "twin": _checked(held, path)}


def read_passport(path: str | Path) -> dict[str, Any]:
    """Read a passport, of a folder or by itself.

    Raises:
        CheckpointError: if there is none, or the file is not one.
    """
    path = Path(path) / PASSPORT if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise CheckpointError(f"`{path}` must be a passport, but does not exist; `vlmzoo verify {path.parent} --make`.")
    return _checked(_read(path), path)


def write_passport(facts: Mapping[str, Any], path: str | Path) -> Path:
    """Write a passport, or a record of several parts; one line for each second-level fact, so that changes are seen.

    Raises:
        ConfigError: if the place is no folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ConfigError(f"`{path.parent}` must be a folder, but is none; make it first.")
    path.write_text(_laid_out(facts) + "\n", encoding="utf-8")
    return path


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"`{path}` must be a passport, but cannot be read ({error}).") from error


def _checked(facts: Any, path: Path) -> dict[str, Any]:
    if not isinstance(facts, dict) or any(name not in facts for name in _SECTIONS):
        raise CheckpointError(f"`{path}` must be a passport with {', '.join(_SECTIONS)}, but is not; make it again.")
    if facts["format"] != FORMAT:
        raise CheckpointError(
            f"`{path}` is a passport of format {facts['format']!r}, and this version reads {FORMAT}; make it again."
        )
    return facts


def _laid_out(value: Any, depth: int = 0) -> str:
    if depth < 3 and isinstance(value, Mapping) and value:
        inner = ",\n".join(f"{json.dumps(str(key))}: {_laid_out(held, depth + 1)}" for key, held in value.items())
        return f"{{\n{inner}\n}}"
    return json.dumps(value, ensure_ascii=True, separators=(", ", ": "))
