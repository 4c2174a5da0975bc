"""Turning what pydantic finds into sentences: dotted path, what it must be, what it is, the nearest name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from vlmzoo.config.merging import inner_schema
from vlmzoo.registry import nearest_hint

__all__ = ["find_placeholders", "sentences_of"]

_MISSING = object()
_LONGEST_VALUE = 120


def sentences_of(error: ValidationError, values: Mapping[str, Any], schema: type[BaseModel]) -> list[str]:
    """Return one sentence for each fault, those of a union's members joined.

    Args:
        error: what pydantic raised on ``values``.
        values: the mapping that was checked.
        schema: what it was checked against.
    """
    expected: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    sentences: list[str] = []
    for fault in error.errors(include_url=False):
        location, value = _real_location(fault["loc"], values, is_missing=fault["type"] == "missing")
        path = ".".join(str(key) for key in location)
        if fault["type"] == "missing":
            sentences.append(f"`{path}` is required, but is missing.")
        elif fault["type"] == "extra_forbidden":
            sentences.append(f"`{path}` is not a known name.{_hint_for_key(location, schema)}")
        elif fault["type"] == "value_error":
            sentences.append(f"`{path or 'config'}` is {_shown(value)}: {fault['msg'].removeprefix('Value error, ')}.")
        else:
            expected.setdefault(path, []).append(fault["msg"].partition(" should ")[2] or f"pass: {fault['msg']}")
            found[path] = value
            if fault["type"] == "literal_error":
                expected[path][-1] += f", but is {_shown(value)} instead.{_hint_for_value(value, location, schema)}"
    return sentences + [_join_expected(path, wanted, found[path]) for path, wanted in expected.items()]


def find_placeholders(values: object, path: str = "") -> Iterator[str]:
    """Yield a sentence for each ``${…}`` and ``???``: this library's configs spell every value out."""
    if isinstance(values, Mapping):
        for key, value in cast("Mapping[Any, Any]", values).items():
            yield from find_placeholders(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list):
        for index, value in enumerate(cast("list[Any]", values)):
            yield from find_placeholders(value, f"{path}.{index}")
    elif values == "???":
        yield f"`{path}` must be given, but is left open (`???`) instead; add `{path}=…`."
    elif isinstance(values, str) and "${" in values:
        yield f"`{path}` must be spelt out, but is {_shown(values)} instead; configs have no interpolation."


def _join_expected(path: str, wanted: Sequence[str], value: object) -> str:
    first, *others = dict.fromkeys(wanted)
    text = " or ".join([first, *(other.removeprefix("be ") for other in others)])
    return f"`{path}` must {text}" + ("" if " instead." in text else f", but is {_shown(value)} instead.")


def _real_location(
    location: Sequence[int | str], values: Mapping[str, Any], *, is_missing: bool
) -> tuple[Sequence[int | str], Any]:
    """Drop the labels that pydantic adds for members of unions, and look the value up."""
    value: Any = values
    for depth, key in enumerate(location):
        inner = _look_up(value, key)
        if inner is _MISSING:
            return (location, None) if is_missing else (location[:depth], value)
        value = inner
    return location, value


def _look_up(value: Any, key: int | str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).get(key, _MISSING)
    if isinstance(value, list) and isinstance(key, int):
        elements = cast("list[Any]", value)
        return elements[key] if key < len(elements) else _MISSING
    return _MISSING


def _hint_for_key(location: Sequence[int | str], schema: type[BaseModel]) -> str:
    annotation: Any = schema
    for key in location[:-1]:
        annotation = inner_schema(annotation, key)
    members = [annotation, *get_args(annotation)]
    models = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
    names = [name for model in models for name in model.model_fields]
    known = ", ".join(f"`{name}`" for name in names)
    return nearest_hint(str(location[-1]), names) or (f" Known: {known}." if known else "")


def _hint_for_value(value: object, location: Sequence[int | str], schema: type[BaseModel]) -> str:
    annotation: Any = schema
    for key in location:
        annotation = inner_schema(annotation, key)
    return nearest_hint(str(value), [str(choice) for choice in get_args(annotation)])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
