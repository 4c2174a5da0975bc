"""ms-swift's JSON lines: ``messages``, older query and response, ShareGPT or alpaca, with ``<image>`` tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._alpaca import read_question, read_rounds
from vlmzoo.data.sources._fields import (
    Turn,
    look_up,
    read_id,
    read_images,
    read_text,
    read_turns,
    refuse_media,
    rest_of,
    shown,
)
from vlmzoo.data.sources._records import FileSource, RenamingRule
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.pictures import OnMissing

__all__ = ["SwiftRule", "SwiftSource"]

_LISTS = ("messages", "conversations", "conversation")
_TEXTS = ("system", "query", "response", "history", "instruction", "input", "output")


@dataclass(frozen=True)
class SwiftRule:
    """What a record of ms-swift says.

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
            meta=rest_of(record, "id", "image", "images", *_LISTS, *_TEXTS, self.reference),
        )


@SOURCES.register(
    "swift", source="ms-swift documentation, Custom dataset (4.6)", tiny={"path": str(TINY / "swift.jsonl")}
)
class SwiftSource(FileSource):
    """Records in one of ms-swift's four forms.

    They are ``messages``; ShareGPT's ``conversation`` of ``{human, assistant}`` or ``{from, value}``; ``query`` and
    ``response`` with ``history`` of pairs; ``instruction``, ``input`` and ``output``. ``system`` may stand beside them.
    ``objects`` (boxes), what is ``rejected_…`` and the other fields are in the samples' ``meta``, and ``<bbox>`` and
    ``<ref-object>`` stay in the text.

    Args:
        path: the file, or several.
        columns: the name in the file, by ms-swift's name, where it has another.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.
        reference: the field that a score compares with, e.g. ``solution``.

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
        rule = RenamingRule(SwiftRule(reference), dict(columns or {}))
        super().__init__(path, rule, image_folder=image_folder, on_missing=on_missing)


def _turns(record: Mapping[str, Any]) -> list[Turn]:
    key = next((key for key in _LISTS if record.get(key) is not None), None)
    if key is None:
        is_query = record.get("query") is not None
        asked, answer = (("query",), "response") if is_query else (("instruction", "input"), "output")
        question = read_question(record, *asked)
        return read_rounds(record, question=question, answer=answer, system="system", history="history")
    turns = _listed(record, key)
    if record.get("system"):
        return [("system", read_text(record, "system")), *turns]
    return turns


def _listed(record: Mapping[str, Any], key: str) -> list[Turn]:
    turns = record[key]
    first = turns[0] if isinstance(turns, Sequence) and turns else None
    if isinstance(first, Mapping) and "human" in first:
        return [turn for number, pair in enumerate(turns) for turn in _pair(pair, f"{key}[{number}]")]
    for number, turn in enumerate(turns if isinstance(turns, Sequence) else ()):
        if isinstance(turn, Mapping) and turn.get("loss") is False:
            raise RowError(
                f"`{key}[{number}].loss` must be true, but is false: all that an assistant says is learnt; leave the "
                "turn out.",
                "wrong value",
            )
    if isinstance(first, Mapping) and "from" in first:
        return read_turns(record, key, role_key="from", content_key="value")
    return read_turns(record, key)


def _pair(pair: object, where: str) -> list[Turn]:
    if not isinstance(pair, Mapping):
        raise RowError(f"`{where}` must be `{{human, assistant}}`, but is {shown(pair)} instead.", "wrong value")
    return [("user", read_text(pair, "human")), ("assistant", read_text(pair, "assistant"))]
