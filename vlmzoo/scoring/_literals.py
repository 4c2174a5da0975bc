"""What a model wrote as a value, read as JSON or as a Python literal; nothing is ever run."""

import ast
import json
import math
from typing import Any, NoReturn

__all__ = ["is_finite_number", "read_value"]

_MAX_DEPTH = 8


def read_value(text: str, *, json_only: bool = False) -> Any:
    """Read a value.

    Args:
        text: of at most some thousand characters.
        json_only: whether Python's own forms (tuples, a comma at the end) are refused, too.

    Returns:
        The value; None where there is none, or it is nested deeper than 8.
    """
    if not text or _depth(text) > _MAX_DEPTH:
        return None
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        pass
    if json_only or "\\" in text:  # Python warns of escapes that it does not know; JSON has read those that count
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def is_finite_number(value: Any, *, limit: float = math.inf) -> bool:
    """Say whether a value is a finite number of magnitude ``limit`` at most; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -limit <= value <= limit and (isinstance(value, int) or math.isfinite(value))


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _depth(text: str) -> int:
    """Return how deep brackets are nested, wherever they stand."""
    depth = deepest = 0
    for character in text:
        if character in "[({":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "])}":
            depth -= 1
    return deepest
