"""Reading the fields of a record; what is missing or of the wrong kind becomes a sentence. Null counts as missing."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from vlmzoo.data.sources import RowError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Role

__all__ = [
    "ROLES",
    "Turn",
    "look_up",
    "plain",
    "read_id",
    "read_images",
    "read_text",
    "read_turn",
    "read_turns",
    "refuse_media",
    "rest_of",
    "shown",
    "text_of_turn",
]

Turn: TypeAlias = tuple[Role, str | Sequence[Any]]
"""Who speaks, and what: text in which ``<image>`` may mark images, or blocks."""

ROLES: Mapping[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "system": "system",
}
"""The speakers of the common formats."""

_LONGEST_SHOWN = 80


def shown(value: object) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def read_text(record: Mapping[str, Any], key: str) -> str:
    """Return a text.

    Raises:
        RowError: if it is missing, or no text.
    """
    value = record.get(key)
    if value is None:
        raise _missing(record, key, "text")
    if not isinstance(value, str):
        raise RowError(f"`{key}` must be text, but is {shown(value)} instead; put it in quotes.", "wrong value")
    return value


def read_turns(
    record: Mapping[str, Any],
    key: str,
    *,
    role_key: str = "role",
    content_key: str = "content",
    roles: Mapping[str, Role] = ROLES,
) -> list[Turn]:
    """Return a list of turns.

    Args:
        record: as read.
        key: of the list.
        role_key: of the speaker within a turn.
        content_key: of what is said within a turn.
        roles: who the speakers are.

    Raises:
        RowError: if the list or a field is missing or of the wrong kind, or a speaker is unknown.
    """
    turns = record.get(key)
    if turns is None:
        raise _missing(record, key, "a list of turns")
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise RowError(
            f"`{key}` must be a list of turns `{{{role_key}, {content_key}}}`, but is {shown(turns)} instead.",
            "wrong value",
        )
    return [
        read_turn(turn, where=f"{key}[{number}]", role_key=role_key, content_key=content_key, roles=roles)
        for number, turn in enumerate(turns)
    ]


def read_turn(
    turn: object, *, where: str, role_key: str = "role", content_key: str = "content", roles: Mapping[str, Role] = ROLES
) -> Turn:
    """Return one turn.

    Args:
        turn: as read.
        where: its path in the record, for messages.
        role_key: of the speaker.
        content_key: of what is said.
        roles: who the speakers are.

    Raises:
        RowError: if a field is missing or of the wrong kind, or the speaker is unknown.
    """
    if not isinstance(turn, Mapping):
        raise RowError(
            f"`{where}` must be `{{{role_key}, {content_key}}}`, but is {shown(turn)} instead.", "wrong value"
        )
    speaker, content = turn.get(role_key), turn.get(content_key)
    if speaker is None:
        raise _missing(turn, f"{where}.{role_key}", f"one of {', '.join(roles)}")
    if not isinstance(speaker, str) or speaker not in roles:
        raise RowError(
            f"`{where}.{role_key}` must be one of {', '.join(roles)}, but is {shown(speaker)} instead."
            f"{nearest_hint(str(speaker), roles)} Rename it; turns of tools are not read.",
            "unknown role",
        )
    if content is None:
        raise _missing(turn, f"{where}.{content_key}", "text")
    if not isinstance(content, (str, Sequence)) or isinstance(content, (bytes, bytearray)):
        raise RowError(f"`{where}.{content_key}` must be text, but is {shown(content)} instead.", "wrong value")
    return roles[speaker], content


def text_of_turn(turn: Turn) -> str:
    """Return what is said in a turn that shows nothing.

    Raises:
        RowError: if a block of it is no text.
    """
    role, content = turn
    if isinstance(content, str):
        return content
    texts = [block.get("text") if isinstance(block, Mapping) else block for block in content]
    if not all(isinstance(text, str) for text in texts):
        raise RowError(f"a rejected turn of `{role}` must be text, but is {shown(content)} instead.", "wrong value")
    return "".join(str(text) for text in texts)


def read_images(record: Mapping[str, Any], *keys: str) -> list[Any]:
    """Return the images under the first of these keys that holds any; a single one need not stand in a list."""
    value = next((record[key] for key in keys if record.get(key) is not None), None)
    if value is None:
        return []
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))
    return list(value) if is_list else [value]


def read_id(record: Mapping[str, Any]) -> str | None:
    """Return the record's id as text; None if it has none."""
    value = record.get("id")
    return str(value) if isinstance(value, (str, int)) and value != "" else None


def look_up(record: Mapping[str, Any], path: str) -> Any:
    """Return what stands under a dotted path, e.g. ``reward_model.ground_truth``; None if nothing does."""
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return plain(value)


def rest_of(record: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """Return the fields that a format makes no use of, as JSON knows them."""
    return {
        key: plain(value)
        for key, value in record.items()
        if key not in used and value is not None and not isinstance(value, (bytes, bytearray))
    }


def plain(value: Any) -> Any:
    """Return a value as JSON knows it; bytes inside it are left out, dates and the like become text."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items() if not isinstance(inner, (bytes, bytearray))}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value if not isinstance(inner, (bytes, bytearray))]
    return str(value)


def refuse_media(record: Mapping[str, Any]) -> None:
    """Refuse what is not read.

    Raises:
        RowError: if the record has video or audio.
    """
    for key in ("video", "videos", "audio", "audios"):
        if record.get(key):
            raise RowError(
                f"`{key}` must be empty, but is {shown(record[key])} instead; only images are read.", "wrong value"
            )


def _missing(record: Mapping[str, Any], key: str, wanted: str) -> RowError:
    hint = nearest_hint(key.rpartition(".")[2], [str(name) for name in record])
    known = ", ".join(f"`{name}`" for name in list(record)[:8]) or "nothing"
    return RowError(f"`{key}` must be {wanted}, but is missing;{hint} It has {known}.", "missing field")
