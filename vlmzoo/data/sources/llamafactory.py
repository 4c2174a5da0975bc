"""LlamaFactory's data sets: a ``dataset_info.json`` that says which fields of which file are what."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._alpaca import read_question, read_rounds
from vlmzoo.data.sources._fields import (
    Turn,
    look_up,
    read_id,
    read_images,
    read_text,
    read_turn,
    read_turns,
    refuse_media,
    rest_of,
    text_of_turn,
)
from vlmzoo.data.sources._integrations import integration
from vlmzoo.data.sources._records import RecordSource, Rule
from vlmzoo.data.sources._rows import Rows, open_rows
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.pictures import OnMissing, PictureFinder
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Role

__all__ = ["AlpacaRule", "LlamaFactorySource", "SharegptRule"]

_INFO = "dataset_info.json"
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_ALL_OF_ALPACA = {
    **_ALPACA,
    **{name: name for name in ("system", "history", "images", "chosen", "rejected")},
}
_SHAREGPT = {"messages": "conversations"}
_SHAREGPT_TAGS: Mapping[str, str] = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}
_OPENAI_TAGS: Mapping[str, str] = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_SPEAKERS: Mapping[str, Role] = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}


@dataclass(frozen=True)
class AlpacaRule:
    """What a record of the alpaca format says.

    Args:
        columns: the record's names by LlamaFactory's: ``prompt``, ``query``, ``response``, ``history``, ``system``,
            ``images``, ``chosen``, ``rejected``; one that is not named is not read; default: all, under the usual
            names.
        reference: the field that a score compares with, dotted if it lies deeper.
    """

    columns: Mapping[str, str] = field(default_factory=lambda: _ALL_OF_ALPACA)
    reference: str = "reference"

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record."""
        columns = self.columns
        asked = [columns[name] for name in ("prompt", "query") if name in columns]
        answers = [columns[name] for name in ("chosen", "response") if name in columns]
        turns = read_rounds(
            record,
            question=read_question(record, *asked),
            answer=next((key for key in answers if record.get(key) is not None), None),
            system=columns.get("system"),
            history=columns.get("history"),
        )
        worse = columns.get("rejected")
        rejected = None if worse is None or record.get(worse) is None else read_text(record, worse)
        return _draft(record, turns, columns, self.reference, rejected)


@dataclass(frozen=True)
class SharegptRule:
    """What a record of the ShareGPT or the OpenAI format says.

    Args:
        columns: the record's names by LlamaFactory's: ``messages``, ``system``, ``images``, ``chosen``, ``rejected``.
        tags: the names and values within a turn by LlamaFactory's: ``role_tag``, ``user_tag`` and so on.
        reference: the field that a score compares with, dotted if it lies deeper.
    """

    columns: Mapping[str, str]
    tags: Mapping[str, str]
    reference: str = "reference"

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record."""
        keys: dict[str, Any] = {
            "role_key": self.tags["role_tag"],
            "content_key": self.tags["content_tag"],
            "roles": {self.tags[tag]: role for tag, role in _SPEAKERS.items()},
        }
        turns = read_turns(record, self.columns["messages"], **keys)
        system, chosen = self.columns.get("system"), self.columns.get("chosen")
        if system and record.get(system) and turns[0][0] != "system":
            turns = [("system", read_text(record, system)), *turns]
        if chosen and record.get(chosen) is not None:
            turns.append(read_turn(record[chosen], where=chosen, **keys))
        worse, rejected = self.columns.get("rejected"), None
        if worse and record.get(worse) is not None:
            rejected = text_of_turn(read_turn(record[worse], where=worse, **keys))
        return _draft(record, turns, self.columns, self.reference, rejected)


def _draft(
    record: Mapping[str, Any], turns: list[Turn], columns: Mapping[str, str], reference: str, rejected: str | None
) -> Draft:
    for name in ("videos", "audios"):
        refuse_media({name: record.get(columns[name])} if name in columns else {})
    kept = {columns[name] for name in ("tools", "kto_tag") if name in columns}
    return Draft(
        turns=turns,
        images=read_images(record, columns["images"]) if "images" in columns else [],
        rejected=rejected,
        id=read_id(record),
        reference=look_up(record, reference),
        meta=rest_of(record, "id", reference, *(set(columns.values()) - kept)),
    )


@SOURCES.register(
    "llamafactory",
    source="LlamaFactory's repository, data/README.md (0.9.5)",
    tiny={"path": str(TINY / "llamafactory"), "name": "tiny_sharegpt"},
)
class LlamaFactorySource(RecordSource):
    """One data set of a ``dataset_info.json``, in alpaca or ShareGPT (OpenAI) format.

    As there, ``columns`` that leave a name out leave it unread. The answer is the ``chosen`` one of a preference set
    beside the ``rejected`` one; ``tools`` and the other fields are in the samples' ``meta``. Tool turns are not read.

    Args:
        path: the folder of the ``dataset_info.json``, or the file.
        name: of the data set in it.
        image_folder: where image paths start, and which none may leave then; default: the folder.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.
        reference: the field that a score compares with.

    Raises:
        ConfigError: if there is no data set of the name, or its entry cannot be followed.
        DataError: if a file is missing or cannot be read.
    """

    def __init__(
        self,
        *,
        path: str,
        name: str,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
        reference: str = "reference",
    ) -> None:
        info = Path(path).expanduser()
        info = info / _INFO if info.is_dir() else info
        entry = _entry(info, name)
        folder = info.parent if image_folder is None else Path(image_folder).expanduser()
        super().__init__(
            _rows(entry, info, name),
            _rule(entry, name, reference),
            PictureFinder(folder, on_missing, image_folder is not None),
        )


def _entry(info: Path, name: str) -> Mapping[str, Any]:
    try:
        entries = json.loads(info.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"`{info}` must be a JSON file of data sets, but cannot be read ({error}).") from error
    if not isinstance(entries, dict) or not isinstance(entries.get(name), dict):
        known = list(entries) if isinstance(entries, dict) else []
        raise ConfigError(f"`{info}` has no data set `{name}`.{nearest_hint(name, known)} Known: {', '.join(known)}.")
    return entries[name]


def _rows(entry: Mapping[str, Any], info: Path, name: str) -> Rows:
    if entry.get("num_samples") is not None:
        raise ConfigError(
            f"`{name}` of `{info}` must have no `num_samples`: all rows are read; weigh it in a `mixture`."
        )
    if "hf_hub_url" in entry:
        given = {"name": entry.get("subset"), "split": entry.get("split", "train"), "folder": entry.get("folder")}
        return integration("hf_datasets").open_dataset(
            repo=entry["hf_hub_url"], revision=entry.get("revision"), **given
        )
    if not isinstance(entry.get("file_name"), str):
        raise ConfigError(
            f"`{name}` of `{info}` must have a `file_name` or an `hf_hub_url`, but has {', '.join(entry)}; scripts and "
            "other hubs are not read."
        )
    return open_rows(str(info.parent / entry["file_name"]))


def _rule(entry: Mapping[str, Any], name: str, reference: str) -> Rule:
    formatting = entry.get("formatting", "alpaca")
    columns, tags = (_names(entry, key) for key in ("columns", "tags"))
    if formatting == "alpaca":
        if columns and not {"prompt", "query"} & columns.keys():
            raise ConfigError(f"`columns` of `{name}` must name `prompt` or `query`, but names {', '.join(columns)}.")
        return AlpacaRule(columns or _ALPACA, reference)
    if formatting in ("sharegpt", "openai"):
        defaults = _SHAREGPT_TAGS if formatting == "sharegpt" else _OPENAI_TAGS
        return SharegptRule({**_SHAREGPT, **columns}, {**defaults, **tags}, reference)
    raise ConfigError(f"`formatting` of `{name}` must be alpaca, sharegpt or openai, but is {formatting!r} instead.")


def _names(entry: Mapping[str, Any], key: str) -> dict[str, str]:
    found = entry.get(key)
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
