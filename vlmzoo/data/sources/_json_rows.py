"""The records of JSON lines and of JSON lists, found again by their offsets in the file."""

import json
import mmap
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vlmzoo.data.sources import RowError
from vlmzoo.errors import DataError

__all__ = ["JsonRows"]

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_UP_TO_COMMA = re.compile(rb'(?:[^"\[\]{},]++|' + _TEXT + rb")*+", re.DOTALL)
_UP_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _TEXT + rb")*+", re.DOTALL)
_OPENING, _CLOSING, _COMMA = b"[{", b"]}", b","
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HEAD_BYTES = 4096


class JsonRows:
    """The records of a file of JSON lines, or of a JSON list; which of the two, the file itself tells.

    Args:
        path: UTF-8.

    Raises:
        DataError: if the file cannot be opened, holds nothing, or is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._stamp = _stamp(file)
                self.is_list = _is_list(file, path)
                self._starts, self._lines = _index_list(file, path) if self.is_list else _index_lines(file)
        except OSError as error:
            raise DataError(f"Data file `{path}` cannot be opened ({error}); check its permissions.") from error
        if not len(self):
            raise DataError(f"Data file `{path}` must hold records, but holds none; check `source.path`.")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._starts) - 1

    def place(self, index: int) -> str:
        """Name the file, and the line or, in a list, the record's number from 0."""
        if self.is_list:
            return f"Record {index} of `{self.path}`"
        return f"Line {self._lines[index] if self._lines else index + 1} of `{self.path}`"

    def row(self, index: int) -> Mapping[str, Any]:
        """Read one record.

        Raises:
            RowError: if it is no JSON object.
            DataError: if the file is gone or has changed.
        """
        raw = self._read(index)
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RowError(
                f"it must be a JSON object, but cannot be read ({error}) and begins {raw[:60]!r} instead; repair or "
                "delete it.",
                "broken row",
            ) from error
        if not isinstance(record, dict):
            raise RowError(f"it must be a JSON object, but is {raw[:60]!r} instead; repair or delete it.", "broken row")
        return record

    def _read(self, index: int) -> bytes:
        start, end = self._starts[index], self._starts[index + 1]
        try:
            with self.path.open("rb") as file:
                stamp = _stamp(file)
                file.seek(start)
                raw = file.read(end - start).strip()
        except OSError as error:
            raise DataError(f"Data file `{self.path}` cannot be read any more ({error}).") from error
        if stamp != self._stamp:
            raise DataError(f"Data file `{self.path}` has changed since it was opened; start again with the new one.")
        return raw.removesuffix(b",") if self.is_list else raw


def _stamp(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _is_list(file: BinaryIO, path: Path) -> bool:
    """Say whether a list follows, not lines; leave the file at its beginning, behind a byte order mark.

    Raises:
        DataError: if it is neither.
    """
    head = file.read(_HEAD_BYTES)
    begin = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
    file.seek(begin)
    first = head[begin:].lstrip().partition(b"\n")[0].strip()
    if path.suffix == ".json" and first and (first[:1] not in b"[{" or first == b"{"):
        raise DataError(
            f"Data file `{path}` must hold a list of records, or one record a line, in UTF-8, but begins "
            f"{first[:40]!r} instead; convert it."
        )
    return first[:1] == b"["


def _index_lines(file: BinaryIO) -> tuple[array, array]:
    """Return where the lines begin that are not blank, and the end; and their numbers if there are blank ones."""
    starts, lines = array("Q"), array("Q")
    offset, number = file.tell(), 0
    for number, line in enumerate(file, start=1):
        if line.strip():
            starts.append(offset)
            lines.append(number)
        offset += len(line)
    starts.append(offset)
    return starts, array("Q") if len(lines) == number else lines


def _index_list(file: BinaryIO, path: Path) -> tuple[array, array]:
    """Return where the elements of a list begin, commas behind them included, and its end.

    Raises:
        DataError: if the list does not end, or something follows it.
    """
    begin = file.tell()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        starts = array("Q", _element_bounds(data, begin))
        end = starts[-1]
        if data[end : end + 1] != b"]":
            raise DataError(
                f"Data file `{path}` cannot be read as JSON: the list does not end, its last record "
                f"({len(starts) - 2}, from 0) is open; the file is cut off, or a quote or bracket is missing there."
            )
        if data[end + 1 : end + _HEAD_BYTES].strip():
            raise DataError(f"Data file `{path}` must hold one list of records, but holds more behind it; split it.")
        if not data[starts[-2] : end].strip():  # an empty list, or a comma behind the last record
            starts.pop(-2)
    return starts, array("Q")


def _element_bounds(data: mmap.mmap, begin: int) -> Iterator[int]:
    """Yield where each element of the list begins, then where the list ends; the file's end if it does not."""
    place = data.find(b"[", begin) + 1
    yield place
    depth = 1
    while found := (_UP_TO_COMMA if depth == 1 else _UP_TO_BRACKET).match(data, place):
        place = found.end() + 1
        sign = data[place - 1 : place]
        if sign and sign in _OPENING:
            depth += 1
        elif sign and sign in _CLOSING:
            depth -= 1
            if depth == 0:
                yield place - 1
                return
        elif sign == _COMMA:
            yield place
        else:  # the end of the file, or a text that does not end
            break
    yield len(data)
