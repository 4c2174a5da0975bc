"""Patterns of keys, in which whole segments may be placeholders.

``{name}`` stands for one segment, ``{name:int}`` for a number, ``{name:path}`` for one segment or more.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vlmzoo.errors import ConfigError

__all__ = ["Pattern"]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::(int|path))?\}")
_KINDS = {"one": r"[^.]+", "int": r"0|[1-9][0-9]*", "path": r"[^.]+(?:\.[^.]+)*"}
_ANY_MORE = ("more", "")  # zero segments or more: what follows the first segment of a path


@dataclass(frozen=True)
class Pattern:
    """A key with placeholders; a key matches it in one way at most.

    Args:
        text: the key, with its placeholders in braces.

    Raises:
        ConfigError: if a placeholder stands twice, is no whole segment, or is the second path.
    """

    text: str

    def __post_init__(self) -> None:
        kinds = [kind for kind, _ in self.segments if kind != "literal"]
        if len(kinds) > len(self.placeholders) or kinds.count("path") > 1:
            raise ConfigError(f"`{self.text}` must name each placeholder once, and hold one path at most.")

    @cached_property
    def segments(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a kind and a text: the literal, or the name of the placeholder.

        Raises:
            ConfigError: if a placeholder is no whole segment.
        """
        found = []
        for segment in self.text.split("."):
            placeholder = _PLACEHOLDER.fullmatch(segment)
            if placeholder is None and (not segment or set(segment) & set("{}")):
                raise ConfigError(
                    f"A placeholder must be a whole segment, as `{{name}}`, `{{name:int}}` or `{{name:path}}`, but "
                    f"`{self.text}` holds {segment!r}."
                )
            found.append((placeholder[2] or "one", placeholder[1]) if placeholder else ("literal", segment))
        return tuple(found)

    @property
    def placeholders(self) -> dict[str, str]:
        """Kinds of the placeholders by name."""
        return {name: kind for kind, name in self.segments if kind != "literal"}

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts = (
            re.escape(text) if kind == "literal" else f"(?P<{text}>{_KINDS[kind]})" for kind, text in self.segments
        )
        return re.compile(r"\.".join(parts))

    def match(self, key: str) -> dict[str, str] | None:
        """Return what the placeholders stand for, or None."""
        found = self._regex.fullmatch(key)
        return found.groupdict() if found else None

    def fill(self, values: Mapping[str, str]) -> str:
        """Put values in place of the placeholders."""
        return ".".join(text if kind == "literal" else values[text] for kind, text in self.segments)

    def nearest(self, key: str) -> str:
        """Return a key that matches, with as much of another key as can be kept."""
        parts = key.split(".")
        number = next((str(int(part)) for part in parts if part.isdecimal()), "0")
        values = {}
        for place, (kind, text) in enumerate(self.segments):
            rest = parts[place:] or parts[-1:]
            if kind != "literal":
                values[text] = {"int": number, "path": ".".join(rest)}.get(kind, rest[0])
        return self.fill(values)

    def overlaps(self, other: "Pattern") -> bool:
        """Say whether some key matches both."""
        return _overlap(_steps(self), _steps(other))


def _steps(pattern: Pattern) -> list[tuple[str, str]]:
    return [
        step
        for kind, text in pattern.segments
        for step in ([("one", ""), _ANY_MORE] if kind == "path" else [(kind, text)])
    ]


def _overlap(first: Sequence[tuple[str, str]], second: Sequence[tuple[str, str]]) -> bool:
    if first and first[0] == _ANY_MORE:
        return _overlap(first[1:], second) or (bool(second) and _overlap(first, second[1:]))
    if second and second[0] == _ANY_MORE:
        return _overlap(second, first)
    if not first or not second:
        return not first and not second
    return _can_be_equal(first[0], second[0]) and _overlap(first[1:], second[1:])


def _can_be_equal(first: tuple[str, str], second: tuple[str, str]) -> bool:
    (kind, text), (other_kind, other_text) = first, second
    if "one" in (kind, other_kind) or kind == other_kind == "int":
        return True
    if kind == other_kind:
        return text == other_text
    return re.fullmatch(_KINDS["int"], text if kind == "literal" else other_text) is not None
