"""TRL's columns: ``messages``, or ``prompt`` with ``completion``, and ``images`` beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import (
    Turn,
    look_up,
    read_id,
    read_images,
    read_text,
    read_turns,
    refuse_media,
    rest_of,
)
from vlmzoo.data.sources._pictures import OnMissing
from vlmzoo.data.sources._records import FileSource, RenamingRule
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.types import Role

__all__ = ["TrlRule", "TrlSource"]

_FIELDS = ("id", "messages", "prompt", "completion", "chosen", "image", "images")


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
        return Draft(
            turns=_turns(record),
            images=read_images(record, "images", "image"),
            id=read_id(record),
            reference=look_up(record, self.reference),
            meta=rest_of(record, *_FIELDS, self.reference),
        )


@SOURCES.register(
    "trl", source="TRL documentation, Dataset formats and types (1.16)", tiny={"path": str(TINY / "trl.jsonl")}
)
class TrlSource(FileSource):
    """Records in TRL's columns, of JSON or parquet: conversational or plain, content as text or as blocks.

    ``messages`` is a whole conversation; ``prompt`` is what is asked, and ``completion`` or ``chosen`` the answer, if
    there is one. Plain text is a turn of the user or the assistant. Images of text that marks no place go before the
    first question; blocks are the places where there are any. Other columns, ``rejected`` among them, are in the
    samples' ``meta``.

    Args:
        path: the file, or several.
        columns: the name in the file, by TRL's name, where it has another.
        image_folder: where relative image paths start; default: the folder of the file.
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
