"""Rows of data files by number: one file, or several as one."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from vlmzoo.data.sources._integrations import integration
from vlmzoo.data.sources._json_rows import JsonRows
from vlmzoo.data.sources._tsv_rows import TsvRows
from vlmzoo.errors import DataError

__all__ = ["JoinedRows", "Rows", "folder_of", "open_rows"]

_JSON = (".json", ".jsonl", ".ndjson")
_SUFFIXES = (*_JSON, ".parquet", ".tsv")


class Rows(Protocol):
    """Records by number; a table of this kind is an index, and opens its file for each record."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def row(self, index: int) -> Mapping[str, Any]:
        """Read one record.

        Raises:
            RowError: if it is no record.
        """
        ...

    def place(self, index: int) -> str:
        """Name the file and the place in it, for messages."""
        ...


def open_rows(path: str | Sequence[str]) -> Rows:
    """Open data files; wildcards and folders stand for all files in them, in order of name.

    Args:
        path: ``.json``, ``.jsonl``, ``.parquet`` or ``.tsv``, one or several.

    Raises:
        DataError: if a file is missing, or cannot be read as a whole.
        MissingExtraError: if a parquet file is to be read and pyarrow is not installed.
    """
    tables = [_open(file) for given in _as_list(path) for file in _files(given)]
    return tables[0] if len(tables) == 1 else JoinedRows(tables)


def folder_of(path: str | Sequence[str]) -> Path:
    """Return the folder that the first data file lies in: where relative image paths start by default."""
    return _files(_as_list(path)[0])[0].parent


def _as_list(path: str | Sequence[str]) -> list[str]:
    given = [path] if isinstance(path, str) else path
    if not isinstance(given, Sequence) or not given or not all(isinstance(one, str) and one for one in given):
        raise DataError(f"`path` must name a data file or several, but is {path!r} instead; check `source.path`.")
    return list(given)


def _files(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    elif not path.exists() and any(sign in given for sign in "*?["):
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    else:
        return [path]
    if not found:
        raise DataError(
            f"`{given}` must hold data files ({', '.join(_SUFFIXES)}), but holds none; check `source.path`."
        )
    return found


def _open(path: Path) -> Rows:
    if path.suffix not in _SUFFIXES:
        raise DataError(
            f"Data file `{path}` must end in one of {', '.join(_SUFFIXES)}, but ends in `{path.suffix}` instead; "
            "convert it, or read it with `hf_dataset`."
        )
    if not path.is_file():
        raise DataError(f"Data file `{path}` does not exist; check `source.path`.")
    if path.suffix == ".tsv":
        return TsvRows(path)
    return JsonRows(path) if path.suffix in _JSON else integration("parquet").ParquetRows(path)


class JoinedRows:
    """The rows of several tables, one after the other.

    Args:
        tables: in order.
    """

    def __init__(self, tables: Sequence[Rows]) -> None:
        self.tables = list(tables)
        self._ends = list(accumulate(len(table) for table in self.tables))

    def __len__(self) -> int:
        """Return how many there are."""
        return self._ends[-1]

    def row(self, index: int) -> Mapping[str, Any]:
        """Read one record."""
        table, inner = self._find(index)
        return table.row(inner)

    def place(self, index: int) -> str:
        """Name the file and the place in it."""
        table, inner = self._find(index)
        return table.place(inner)

    def _find(self, index: int) -> tuple[Rows, int]:
        number = bisect_right(self._ends, index)
        return self.tables[number], index - (self._ends[number - 1] if number else 0)
