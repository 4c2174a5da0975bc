"""The one way from what a format found to a conversation: marks become image blocks, and both are counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._fields import Turn, shown
from vlmzoo.types import Content, Message

__all__ = ["MARK", "Draft", "compose", "escape_marks"]

MARK = "<image>"
"""Marks the place of an image in text."""

_FILLED_BY = ("image", "path", "url", "bytes", "base64", "image_url")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the rule of a format finds in a record.

    Args:
        turns: who says what, in order.
        images: in the order of their places; paths, bytes or whatever else the format writes.
        id: None if the record has none.
        reference: what a score compares a completion with.
        meta: what the format makes no use of.
        lead: what stands between images that have no place and the first question, before which they go.
        rejected: the worse answer to the same question; None where nothing is compared.
        negative_images: pictures that contradict the better answer; paths or whatever else the format writes.
    """

    turns: Sequence[Turn]
    images: Sequence[Any] = ()
    id: str | None = None
    reference: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    lead: str = ""
    rejected: str | None = None
    negative_images: Sequence[Any] = ()


@dataclass(frozen=True)
class _Place:
    """Where an image goes.

    Args:
        value: the image, if the block itself carries it.
        is_block: whether it was written as a block, so that it cannot be text.
    """

    value: Any = None
    is_block: bool = False


_Piece: TypeAlias = str | _Place


def compose(draft: Draft) -> tuple[list[Message], list[Any]]:
    """Return the messages of a draft, and one image for each image block, in the order of the blocks.

    ``<image>`` in a user's text takes the next image. Where there are more marks than images, the later ones are text
    and escaped, but a mark at the beginning or the end of a text always wants an image. Images without any place go
    before the first question. Where a user's turn is written in blocks, these are the places, and marks are text. What
    others than users say is text, whatever stands in it.

    Raises:
        RowError: if the turns do not alternate, a block cannot be read, or images and places do not match.
    """
    turns = _ordered(draft.turns)
    has_blocks = any(role == "user" and not isinstance(content, str) for role, content in turns)
    marked = [role == "user" and not has_blocks for role, _ in turns]
    texts = [
        _cut(content, number) if is_marked else _parts(role, content, number)
        for number, ((role, content), is_marked) in enumerate(zip(turns, marked, strict=True))
    ]
    waiting = list(draft.images)
    if waiting and True in marked and not any(isinstance(piece, _Place) for pieces in texts for piece in pieces):
        first = marked.index(True)
        texts[first] = [*(_Place() for _ in waiting), draft.lead, *texts[first]]
    _check_counts(texts, len(waiting))
    images: list[Any] = []
    messages: list[Message] = [
        {"role": role, "content": _blocks(role, pieces, waiting, images)}
        for (role, _), pieces in zip(turns, texts, strict=True)
    ]
    return messages, images


def escape_marks(text: str) -> str:
    """Return text in which no mark can be read: ``<image>`` becomes ``< image>``, as processors do with tokens."""
    return text.replace(MARK, f"{MARK[0]} {MARK[1:]}")


def _ordered(turns: Sequence[Turn]) -> list[Turn]:
    """Check that speakers alternate behind one system turn; drop an answer to nothing that others follow."""
    behind = 1 if turns and turns[0][0] == "system" else 0
    ordered = list(turns)
    if len(ordered) > behind + 1 and ordered[behind][0] == "assistant":
        del ordered[behind]
    for number, (role, _) in enumerate(ordered[behind:], start=behind):
        if role == "system":
            raise RowError("one system turn may come first, but there is a later one; leave it out.", "turn order")
        if number > behind and role == ordered[number - 1][0]:
            raise RowError(
                f"user and assistant must alternate, but a `{role}` follows another; join them.", "turn order"
            )
    if len(ordered) == behind:
        raise RowError("user or assistant must say something, but neither does; leave the row out.", "turn order")
    return ordered


def _cut(content: str | Sequence[Any], number: int) -> list[_Piece]:
    """Cut a text at its marks."""
    pieces: list[_Piece] = []
    for count, text in enumerate(_checked(str(content), f"turn {number}").split(MARK)):
        pieces += [_Place(), text] if count else [text]
    return pieces


def _parts(role: str, content: str | Sequence[Any], number: int) -> list[_Piece]:
    """Return what is said in blocks, or in text without marks."""
    blocks = [content] if isinstance(content, str) else content
    parts = [_part(block, f"turn {number}, block {count} (from 0)") for count, block in enumerate(blocks)]
    if role != "user" and any(isinstance(part, _Place) for part in parts):
        raise RowError(
            f"images must stand in turns of users, but one stands in turn {number} of `{role}`.", "image count"
        )
    return parts


def _part(block: object, where: str) -> _Piece:
    if isinstance(block, str):
        return _checked(block, where)
    kind = block.get("type") if isinstance(block, Mapping) else None
    if isinstance(block, Mapping) and kind == "text" and isinstance(block.get("text"), str):
        return _checked(block["text"], where)
    if isinstance(block, Mapping) and kind in ("image", "image_url"):
        key = next((key for key in _FILLED_BY if block.get(key) is not None), None)
        return _Place(value=None if key is None else _carried(block, key), is_block=True)
    raise RowError(
        f"{where} must be `{{type: text | image}}`, but is {shown(block)} instead; rewrite it.", "wrong value"
    )


def _carried(block: Mapping[str, Any], key: str) -> Any:
    value = block[key]
    if key == "image_url" and isinstance(value, Mapping):
        return value.get("url")
    return {key: value} if key in ("bytes", "base64") else value


def _checked(text: str, where: str) -> str:
    """Refuse halves of surrogate pairs, which JSON can write and no tokenizer can read."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"{where} must be Unicode, but is not ({error}); repair it.", "wrong value") from error
    return text


def _check_counts(texts: Sequence[Sequence[_Piece]], num_images: int) -> None:
    """Compare the images with the places that take one, and with those that must have one."""
    places = [piece for pieces in texts for piece in pieces if isinstance(piece, _Place) and piece.value is None]
    num_needed = sum(place.is_block for place in places) + sum(_num_at_edges(pieces) for pieces in texts)
    if num_images > len(places):
        raise RowError(
            f"there must be a place for each image, but there are {num_images} images and {len(places)} places "
            f"(`{MARK}` in the text of users, or image blocks); add places, or leave images out.",
            "image count",
        )
    if num_needed > num_images:
        raise RowError(
            f"there must be an image for each place, but there are {num_images} images and {num_needed} places; add "
            f"images, or write `{escape_marks(MARK)}` where none is meant.",
            "image count",
        )


def _num_at_edges(pieces: Sequence[_Piece]) -> int:
    """Count the marks before the first and behind the last word of a text."""
    is_word = [isinstance(piece, str) and bool(piece.strip()) for piece in pieces]
    first = is_word.index(True) if True in is_word else len(pieces)
    last = len(pieces) - is_word[::-1].index(True) if True in is_word else len(pieces)
    return sum(isinstance(piece, _Place) and not piece.is_block for piece in [*pieces[:first], *pieces[last:]])


def _blocks(role: str, pieces: Sequence[_Piece], waiting: list[Any], images: list[Any]) -> list[Content]:
    """Build the content of a message: take what it shows from ``waiting``, and add it to ``images``."""
    content: list[Any] = []
    for piece in pieces:
        if isinstance(piece, _Place) and (waiting or piece.value is not None):
            content.append({"type": "image"})
            images.append(waiting.pop(0) if piece.value is None else piece.value)
            continue
        text = MARK if isinstance(piece, _Place) else piece
        if content and content[-1]["type"] == "text":
            content[-1]["text"] += text
        elif text or role != "user":
            content.append({"type": "text", "text": text})
    if role != "user":
        return content or [{"type": "text", "text": ""}]
    return [{**block, "text": escape_marks(block["text"])} if "text" in block else block for block in content]
