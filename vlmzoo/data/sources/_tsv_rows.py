"""The records of tab-separated files with a header, quoted as spreadsheets do, found again by their offsets."""

import mmap
import re
from array import array
from collections.abc import Mapping
from pathlib import Path

from vlmzoo.data.sources import RowError
from vlmzoo.errors import DataError

__all__ = ["TsvRows"]

# The module `csv` has one limit for the length of a field for the whole process, below that of an image.
_RECORD = re.compile(rb'(?:[^"\n]++|"(?:[^"]++|"")*+")*+\n?')
_FIELD = re.compile(r'(?:"((?:[^"]++|"")*+)"|([^\t"]*+))(\t|\Z)')


class TsvRows:
    """The records of a file, by the names in its header.

    Args:
        path: UTF-8. A field with a tab, a quote or the end of a line is in quotes, and its quotes are doubled.

    Raises:
        DataError: if the file cannot be opened, has no header, or holds no records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._starts = array("Q", _record_starts(data))
                header = data[: self._starts[0]]
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise DataError(f"Data file `{path}` cannot be read as a table ({error}); check it.") from error
        if not len(self):
            raise DataError(f"Data file `{path}` must hold a header and records, but holds none; check `source.path`.")
        try:
            self.names = _fields(header.removeprefix(b"\xef\xbb\xbf"))
        except RowError as error:
            raise DataError(f"Data file `{path}` must begin with a header, but {error}") from error

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._starts) - 1

    def place(self, index: int) -> str:
        """Name the file and the record's number from 0."""
        return f"Record {index} of `{self.path}`"

    def row(self, index: int) -> Mapping[str, str]:
        """Read one record; what is empty is left out.

        Raises:
            RowError: if it has more or fewer fields than the header, or its quotes are wrong.
        """
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            raw = file.read(self._starts[index + 1] - self._starts[index])
        values = _fields(raw)
        if len(values) != len(self.names):
            raise RowError(
                f"it must have {len(self.names)} fields as the header, but has {len(values)} instead; quote fields "
                "that hold tabs.",
                "broken row",
            )
        return {name: value for name, value in zip(self.names, values, strict=True) if value}


def _record_starts(data: mmap.mmap) -> list[int]:
    """Return where the records behind the header begin, and the end; blank lines are passed over."""
    starts: list[int] = []
    place, size = 0, len(data)
    while place < size:
        found = _RECORD.match(data, place)
        end = found.end() if found is not None else size
        if data[end - 1 : end] != b"\n":  # a quote that does not end: the rest is one record, and told when it is read
            end = size
        if data[place:end].strip(b"\r\n") or not starts:
            starts.append(place)
        place = end
    return [*starts[1:], size]


def _fields(raw: bytes) -> list[str]:
    """Return the fields of a record.

    Raises:
        RowError: if it is no UTF-8, or a quote stands where none may.
    """
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise RowError(f"it must be UTF-8, but is not ({error}); convert the file.", "broken row") from error
    values: list[str] = []
    place = 0
    while True:
        found = _FIELD.match(text, place)
        if found is None:
            raise RowError(
                f"quotes must enclose a whole field and be doubled inside, but {text[place : place + 40]!r} does not; "
                "repair it.",
                "broken row",
            )
        quoted, bare, end = found.groups()
        values.append(bare if quoted is None else quoted.replace('""', '"'))
        place = found.end()
        if not end:
            return values
