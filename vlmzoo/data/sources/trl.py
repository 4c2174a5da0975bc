"""TRL's columns: ``messages``, or ``prompt`` with ``completion``, and ``images`` beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import (
    Turn,
    look_up,
    plain,
    read_id,
    read_images,
    read_text,
    read_turns,
    refuse_media,
    rest_of,
    text_of_turn,
)
from vlmzoo.data.sources._records import FileSource, RenamingRule
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.pictures import OnMissing
from vlmzoo.types import Role

__all__ = ["TrlRule", "TrlSource"]

_FIELDS = (
    *("id", "messages", "prompt", "completion", "chosen", "rejected", "image", "images", "negative_images", "meta"),
)


@dataclass(frozen=True)
class TrlRule:
    """What a record in TRL's columns says.

    Args:
        reference: the field that a score compares with, dotted if it lies deeper.
    """

    reference: str = "reference"

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record."""
        refuse_media(record)
        turns = _turns(record)
        return Draft(
            turns=turns,
            images=read_images(record, "images", "image"),
            id=read_id(record),
            reference=look_up(record, self.reference),
            rejected=_rejected(record, turns),
            negative_images=read_images(record, "negative_images"),
            meta={**_meta_of(record), **rest_of(record, *_FIELDS, self.reference)},
        )


@SOURCES.register(
    "trl", source="TRL documentation, Dataset formats and types (1.16)", tiny={"path": str(TINY / "trl.jsonl")}
)
class TrlSource(FileSource):
    """Records in TRL's columns, of JSON or parquet: conversational or plain, content as text or as blocks.

    ``messages`` is a whole conversation; ``prompt`` is what is asked, and ``completion`` or ``chosen`` the answer, if
    there is one; ``rejected`` is the worse one, alone or behind the same prompt as ``chosen``. Plain text is a turn of
    the user or the assistant. Images of text that marks no place go before the first question; blocks are the places
    where there are any. ``negative_images`` are ours: pictures that contradict the better answer. Other columns, and
    what stands in a column ``meta``, are in the samples' ``meta``.

    Args:
        path: the file, or several.
        columns: the name in the file, by TRL's name, where it has another.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.
        reference: the column that a score compares with, e.g. ``solution``.

    Raises:
        DataError: if a file is missing or holds no records.
        MissingExtraError: if it is parquet, and pyarrow is not installed.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str],
        columns: Mapping[str, str] | None = None,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
        reference: str = "reference",
    ) -> None:
        rule = RenamingRule(TrlRule(reference), dict(columns or {}))
        super().__init__(path, rule, image_folder=image_folder, on_missing=on_missing)


def _turns(record: Mapping[str, Any]) -> list[Turn]:
    if record.get("messages") is not None:
        return read_turns(record, "messages")
    answer = next((key for key in ("completion", "chosen") if record.get(key) is not None), None)
    if record.get("prompt") is None and answer != "chosen":
        raise RowError(
            f"`messages`, `prompt` or `chosen` must be there, but there is only {', '.join(record) or 'nothing'}; name "
            "them with `columns`.",
            "missing field",
        )
    asked = [] if record.get("prompt") is None else _said(record, "prompt", "user")
    return asked if answer is None else [*asked, *_said(record, answer, "assistant")]


def _said(record: Mapping[str, Any], key: str, role: Role) -> list[Turn]:
    """Return turns as they are, and plain text as one turn."""
    if isinstance(record[key], str):
        return [(role, read_text(record, key))]
    return read_turns(record, key)


def _rejected(record: Mapping[str, Any], turns: Sequence[Turn]) -> str | None:
    """Return the worse answer.

    Raises:
        RowError: if it answers another prompt than the better one, or there is no better one.
    """
    if record.get("rejected") is None:
        return None
    if not turns or turns[-1][0] != "assistant":
        raise RowError("`rejected` needs a better answer, `chosen`, but there is none; add it.", "missing field")
    told = _said(record, "rejected", "assistant")
    if told[-1][0] != "assistant":
        raise RowError("`rejected` must end with an assistant's turn, but ends with a question.", "turn order")
    before = told[:-1]
    if before and before != list(turns)[-len(told) : -1]:
        raise RowError(
            "`rejected` must follow the same prompt as `chosen`, but its turns before the answer are others; put the "
            "prompt into a column of its own.",
            "wrong value",
        )
    return text_of_turn(told[-1])


def _meta_of(record: Mapping[str, Any]) -> dict[str, Any]:
    meta = record.get("meta")
    return dict(plain(meta)) if isinstance(meta, Mapping) else {}
