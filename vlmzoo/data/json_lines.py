"""Files that survive a kill: JSON lines, of which at most the last is lost, and files written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from vlmzoo.errors import DataError

__all__ = ["JsonLinesWriter", "read_json_lines", "write_whole"]


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; none if it does not exist. A last line that was cut by a kill is left out.

    Raises:
        DataError: if a line before the last is not a JSON object.
    """
    return _parse(path)[0]


def write_whole(path: Path, text: str) -> Path:
    """Write a file under a temporary name and rename it, so that nobody ever finds half of it.

    Args:
        path: its folder is made if need be; an older file is replaced.
        text: what it holds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)


def _parse(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the rows, and the number of bytes that they take."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    rows: list[dict[str, Any]] = []
    num_bytes = 0
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        if row is None and number == len(lines):
            break
        if row is None:
            raise DataError(
                f"Line {number} of `{path}` must be a JSON object, but is {line[:60]!r} instead; "
                "repair or delete the line, or delete the file to start anew."
            )
        rows.append(row)
        num_bytes += len(line)
    return rows, num_bytes


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:  # not JSON, or not UTF-8
        return None
    return row if isinstance(row, dict) and line.endswith(b"\n") else None


class JsonLinesWriter:
    """Appends rows to a file and flushes each, so that a kill costs at most the line being written.

    Args:
        path: opened on the first row, with its folder; a torn last line that a kill left is cut off then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row.

        Raises:
            DataError: if a value has no form in JSON.
        """
        try:
            line = json.dumps(dict(row), ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"A row of `{self.path}` must hold JSON values only, but {error} instead; "
                "keep to text, numbers, booleans, lists and mappings."
            ) from error
        if self._file is None:
            self._file = self._open()
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; a later row opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "JsonLinesWriter":
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _open(self) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            num_bytes = _parse(self.path)[1]
            if num_bytes < self.path.stat().st_size:
                with self.path.open("r+b") as file:
                    file.truncate(num_bytes)
        return self.path.open("a", encoding="utf-8")
