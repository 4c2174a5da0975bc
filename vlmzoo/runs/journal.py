"""The journal of a run: one line a step, on disk as soon as the step is done."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.data.json_lines import JsonLinesWriter, read_json_lines, write_whole
from vlmzoo.errors import DataError

__all__ = ["REQUIRED", "Journal", "keep_steps", "read_journal"]

REQUIRED = ("step", "loss")
"""What every line holds; usually ``lr``, ``grad_norm``, ``tokens``, ``tokens_per_s``, ``seconds``, ``rss_mb`` too."""


class Journal:
    """Appends a line for each step; a run that goes on after a kill repeats the steps since its last checkpoint.

    Args:
        path: ``journal.jsonl``, made with the first line; a torn last line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._writer = JsonLinesWriter(path)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one step.

        Args:
            record: numbers by name, ``step`` and ``loss`` among them.

        Raises:
            DataError: if ``step`` or ``loss`` is missing, or a value has no form in JSON.
        """
        for name in REQUIRED:
            if name not in record:
                raise DataError(f"A line of the journal must hold `{name}`, but holds {sorted(record)} instead.")
        self._writer.write({name: _number(value) for name, value in record.items()})

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines in order of step; of a step that was repeated after a kill, the last line counts.

    Raises:
        DataError: if a line before the last is broken, or has no ``step``.
    """
    latest: dict[int, dict[str, Any]] = {}
    for row in read_json_lines(path):
        if "step" not in row:
            raise DataError(f"A line of `{path}` must hold `step`, but holds {sorted(row)} instead; delete that line.")
        latest[row["step"]] = row
    return [latest[step] for step in sorted(latest)]


def keep_steps(path: Path, last: int) -> None:
    """Drop the lines of steps after ``last``: a run that goes on takes those steps again.

    Args:
        path: lines with a ``step``; nothing is done if there is no such file.
        last: step of the checkpoint.
    """
    if not path.is_file():
        return
    kept = [row for row in read_json_lines(path) if row.get("step", 0) <= last]
    if kept:
        write_whole(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept))
    else:
        path.unlink()


def _number(value: Any) -> Any:
    """Return what a tensor or array of one element holds, to the last bit; other values as they are."""
    return value.item() if hasattr(value, "item") else value
