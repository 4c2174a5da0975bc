"""Laying one mapping over another, with the rule that a changed ``type`` starts anew in the open ends."""

from collections.abc import Mapping
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel

from vlmzoo.errors import ConfigError

__all__ = ["inner_schema", "merge"]


def inner_schema(annotation: Any, key: object) -> Any:
    """Return what stands under ``key`` in a value of this annotation; None for an open end.

    Unions give their first member that knows more, so ``Model | None`` behaves as ``Model``.
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(key))
        return field.annotation if field else None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return None if arguments[1] is Any else arguments[1]
    if origin is list:
        return arguments[0]
    found = (inner_schema(member, key) for member in arguments)
    return next((inner for inner in found if inner is not None), None)


def merge(below: Any, above: Any, annotation: Any = None) -> Any:
    """Return ``below`` with ``above`` laid over it, key by key; neither is changed.

    In an open ``{type: …}`` mapping, another ``type`` means other arguments: what lay below is dropped. A list is
    replaced whole, unless ``above`` addresses its elements by index (``{"0": …}``, from a dotted override). Where a
    schema says in ``displaced`` what excludes what, the later goes before: a ``path`` replaces a model's ``name``.

    Args:
        below: what a base or a file says.
        above: what the file or an override says.
        annotation: the schema of the value; None in the open ends.

    Raises:
        ConfigError: if an index lies outside its list.
    """
    if isinstance(below, list) and _has_only_indices(above):
        return _merge_elements(cast("list[Any]", below), cast("Mapping[str, Any]", above), annotation)
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    lower, upper = cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", above)
    if _is_open(annotation) and "type" in upper and upper["type"] != lower.get("type"):
        return dict(upper)
    gone: set[str] = annotation.displaced(lower, upper) if hasattr(annotation, "displaced") else set()
    merged = {key: value for key, value in lower.items() if key not in gone}
    for key, value in upper.items():
        merged[key] = merge(lower[key], value, inner_schema(annotation, key)) if key in merged else value
    return merged


def _is_open(annotation: Any) -> bool:
    """Say whether anything may stand in a mapping of this annotation: a ``{type: …}`` spec, or something within one."""
    if annotation is None:
        return True
    members = get_args(annotation) if get_origin(annotation) is not dict else (annotation,)
    return any(get_origin(member) is dict and get_args(member)[1] is Any for member in members)


def _merge_elements(below: list[Any], above: Mapping[str, Any], annotation: Any) -> list[Any]:
    merged = list(below)
    for index, value in above.items():
        if int(index) >= len(below):
            raise ConfigError(f"an index must be below {len(below)}, the length of the list, but is {index} instead.")
        merged[int(index)] = merge(below[int(index)], value, inner_schema(annotation, index))
    return merged


def _has_only_indices(above: object) -> bool:
    if not isinstance(above, Mapping) or not above:
        return False
    return all(str(key).isdecimal() for key in cast("Mapping[Any, Any]", above))
