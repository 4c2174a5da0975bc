"""LLaVA's JSON: records with an image and a conversation in which ``<image>`` marks its place."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import look_up, read_id, read_images, read_turns, rest_of
from vlmzoo.data.sources._records import FileSource
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import MARK, Draft, escape_marks
from vlmzoo.data.sources.pictures import OnMissing
from vlmzoo.types import Message, Sample

__all__ = ["LlavaJsonSource", "LlavaJsonWriter", "LlavaRule"]

_FIELDS = ("id", "image", "images", "conversations")
_SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}


@dataclass(frozen=True)
class LlavaRule:
    """What a record of LLaVA's JSON says.

    Args:
        reference: the field that a score compares with, dotted if it lies deeper.
    """

    reference: str = "reference"

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record."""
        return Draft(
            turns=read_turns(record, "conversations", role_key="from", content_key="value"),
            images=read_images(record, "image", "images"),
            id=read_id(record),
            reference=look_up(record, self.reference),
            meta=rest_of(record, *_FIELDS, self.reference),
            lead="\n",
        )


@SOURCES.register(
    "llava_json",
    source="LLaVA's repository, docs/Finetune_Custom_Data.md (on-disk format)",
    tiny={"path": str(TINY / "llava.json")},
)
class LlavaJsonSource(FileSource):
    """Records ``{id, image, conversations: [{from: human|gpt|system, value}]}`` of a ``.json`` list or ``.jsonl``.

    ``image`` may be a list, for several images. A record with images and no mark shows them first. A first turn of
    ``gpt`` is dropped, as in LLaVA's training. Other fields are in the samples' ``meta``.

    Args:
        path: the file, or several.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.
        reference: the field that a score compares with.

    Raises:
        DataError: if a file is missing or holds no records.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str],
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
        reference: str = "reference",
    ) -> None:
        super().__init__(path, LlavaRule(reference), image_folder=image_folder, on_missing=on_missing)


class LlavaJsonWriter:
    """Writes conversations as a file that `LlavaJsonSource` reads back as they were; to be used in a ``with``.

    The file appears when all of it is written. Pictures that are no files are written beside it as PNG.

    Args:
        path: of the file; ``.jsonl`` gives lines, anything else a list.
        is_relative: whether image paths start from the file's folder instead of the root.
    """

    def __init__(self, path: Path, *, is_relative: bool = False) -> None:
        self.path = path
        self.is_relative = is_relative
        self.num_written = 0
        self._partial = path.with_name(f".{path.name}.partial")
        self._begin, self._between, self._end = ("", "\n", "\n") if path.suffix == ".jsonl" else ("[\n", ",\n", "\n]\n")

    def __enter__(self) -> "LlavaJsonWriter":
        """Open the file under another name."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("w", encoding="utf-8", newline="\n")
        return self

    def write(self, sample: Sample) -> None:
        """Append one conversation.

        Raises:
            RowError: if a field of its ``meta`` has a name that the format needs.
        """
        clash = sorted({*_FIELDS, "reference"} & sample.meta.keys())
        if clash:
            raise RowError(f"`meta` must leave `{clash[0]}` to the format; rename the field.", "wrong value")
        images = [self._place(image, number) for number, image in enumerate(sample.images)]
        record = {
            "id": sample.id,
            **({"image": images[0] if len(images) == 1 else images} if images else {}),
            "conversations": [_turn(message) for message in sample.messages],
            **({} if sample.reference is None else {"reference": sample.reference}),
            **sample.meta,
        }
        self._file.write((self._between if self.num_written else self._begin) + _line(record))
        self.num_written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file its name, or remove it after an error."""
        self._file.write(self._end if self.num_written else self._begin + self._end)
        self._file.close()
        if kind is None:
            self._partial.replace(self.path)
        self._partial.unlink(missing_ok=True)

    def _place(self, image: Any, number: int) -> str:
        """Return the path of an image, which is written if it is no file yet."""
        path = Path(image) if isinstance(image, (str, Path)) else self._write_picture(image, number)
        return os.path.relpath(path, self.path.parent) if self.is_relative else str(path.resolve())

    def _write_picture(self, image: Any, number: int) -> Path:
        path = self.path.parent / f"{self.path.stem}_images" / f"{self.num_written:08d}_{number}.png"
        path.parent.mkdir(exist_ok=True)
        load_image(image).save(path)
        return path


def _line(record: Mapping[str, Any]) -> str:
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half a surrogate pair in `meta`
        return json.dumps(record)
    return line


def _turn(message: Message) -> dict[str, str]:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    is_user = message["role"] == "user"
    texts = [
        MARK if block["type"] == "image" else escape_marks(block["text"]) if is_user else block["text"]
        for block in blocks
    ]
    return {"from": _SPEAKERS[message["role"]], "value": "".join(texts)}
