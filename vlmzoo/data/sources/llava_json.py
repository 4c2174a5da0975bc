"""LLaVA's JSON: a list of records with an image and a conversation in which ``<image>`` marks its place."""

import json
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import DataError
from vlmzoo.types import Message, Sample

__all__ = ["LlavaJsonSource"]

_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
_MARK = "<image>"


@SOURCES.register(
    "llava_json", source="LLaVA's repository, docs/Finetune_Custom_Data.md (on-disk format)", tiny={"path": ""}
)
class LlavaJsonSource:
    """Records ``{id, image, conversations: [{from: human|gpt, value}]}``, read whole; images are opened when wanted.

    Args:
        path: the JSON file.
        image_folder: where relative image paths start; default: the JSON file's folder.

    Raises:
        DataError: if the file is missing or is no list of records.
    """

    def __init__(self, *, path: str, image_folder: str | None = None) -> None:
        self.path = Path(path)
        self.image_folder = Path(image_folder) if image_folder else self.path.parent
        try:
            self.records = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(f"Data file `{path}` does not exist; check `source.path`.") from error
        except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
            raise DataError(f"Data file `{path}` cannot be read as JSON ({error}).") from error
        if not isinstance(self.records, list) or not self.records:
            raise DataError(f"Data file `{path}` must hold a list of records, but holds {type(self.records).__name__}.")

    @property
    def size(self) -> int | None:
        """The number of records."""
        return len(self.records)

    def sample(self, position: int) -> Sample:
        """Read one record.

        Raises:
            DataError: if it lacks a field, or has an unknown speaker.
        """
        record = self.records[position]
        name = str(record.get("id", position)) if isinstance(record, dict) else str(position)
        try:
            messages = [_message(turn) for turn in record["conversations"]]
            files = record.get("image") or []
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"Record `{name}` of `{self.path}` must have `conversations` of {{from, value}}, but lacks {error}."
            ) from error
        files = [files] if isinstance(files, str) else files
        return Sample(messages=messages, images=[self.image_folder / file for file in files], id=name)


def _message(turn: dict[str, Any]) -> Message:
    role = _ROLES[turn["from"]]
    if role != "user":
        return {"role": role, "content": [{"type": "text", "text": turn["value"]}]}
    content: list[dict[str, Any]] = []
    for place, piece in enumerate(turn["value"].split(_MARK)):
        if place:
            content.append({"type": "image"})
        if piece:
            content.append({"type": "text", "text": piece})
    return {"role": role, "content": content}
