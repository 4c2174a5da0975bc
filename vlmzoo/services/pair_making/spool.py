"""What online learning leaves behind: a line for each prompt, each pair and each pair that was trained.

Lines are only ever added. A run that goes on from a checkpoint first cuts what came after it: nothing is there twice.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlmzoo.data.json_lines import JsonLinesWriter, read_json_lines, write_whole
from vlmzoo.errors import DataError
from vlmzoo.services.pair_making.images import ImageStore
from vlmzoo.services.pair_making.items import MadePair, Outcome

__all__ = ["SCHEMA", "Spool", "export_pairs", "read_spool"]

SCHEMA = 1


class Spool:
    """Writes the lines; without a file, it only counts them.

    Args:
        path: of this rank's file; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.num_lines = 0
        self._writer = None if path is None else JsonLinesWriter(path)

    def note_outcome(self, outcome: Outcome, *, step: int) -> None:
        """Write down a prompt with its answers and scores, and the pairs that came of it."""
        asked = outcome.asked
        answers = [
            {"text": answer.text, "ids": list(answer.ids), "count": answer.count, "score": score}
            for answer, score in zip(asked.answers, outcome.scores, strict=True)
        ]
        told = {name: getattr(asked, name) for name in ("place", "name", "question", "reference", "policy_step")}
        self._write({"event": "prompt", "step": step, **told, "answers": answers, "reasons": list(outcome.reasons)})
        for pair in outcome.pairs:
            self._write({"event": "pair", "step": step, **pair.to_dict()})

    def note_trained(self, pairs: Iterable[MadePair], *, step: int, is_replay: bool = False) -> None:
        """Write down which pairs a step trains."""
        for pair in pairs:
            self._write(
                {
                    "event": "trained",
                    "step": step,
                    "place": pair.place,
                    "number": pair.number,
                    "is_replay": is_replay,
                    "staleness": step - pair.policy_step,
                }
            )

    def cut_to(self, num_lines: int) -> None:
        """Go back to so many lines.

        Raises:
            DataError: if there are fewer.
        """
        self.close()
        self.num_lines = num_lines
        if self.path is None:
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        if len(lines) < num_lines:
            raise DataError(f"`{self.path}` must hold {num_lines} lines, but has {len(lines)}; lines were removed.")
        write_whole(self.path, "".join(lines[:num_lines]))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, row: dict[str, Any]) -> None:
        self.num_lines += 1
        if self._writer is not None:
            self._writer.write({"schema": SCHEMA, **row})


def read_spool(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file.

    Raises:
        DataError: if it is not there, or of another schema.
    """
    if not path.exists():
        raise DataError(f"`{path}` must be the spool of a run with `online_pairs`, but is not there.")
    rows = read_json_lines(path)
    for number, row in enumerate(rows, start=1):
        if row.get("schema") != SCHEMA:
            raise DataError(
                f"Line {number} of `{path}` must have schema {SCHEMA}, but has {row.get('schema')!r} instead."
            )
    return rows


def export_pairs(folder: Path) -> list[dict[str, Any]]:
    """Return the pairs of a run as rows of OViP's training data, which ``ovip`` and ``llamafactory`` read.

    Args:
        folder: ``online`` of a run, with the spools of all ranks and the pictures.

    Returns:
        ``conversations``, ``chosen``, ``rejected`` and ``images`` (the picture, then the negative one where there is
        one), with ``meta``: scores, description, step and place. Pairs whose picture was not kept are left out.

    Raises:
        DataError: if there is no spool.
    """
    paths = sorted(folder.glob("spool*.jsonl"))
    if not paths:
        raise DataError(f"`{folder}` must hold `spool.jsonl`, but has none; was the run one with `online_pairs`?")
    store = ImageStore(folder / "images")
    rows: list[dict[str, Any]] = []
    for row in (row for path in paths for row in read_spool(path)):
        if row["event"] != "pair" or row["positive"] is None:
            continue
        shown = [digest for digest in (row["positive"], row["image"]) if digest is not None]
        kept = ("place", "number", "step", "policy_step", "chosen_score", "rejected_score", "description")
        rows.append(
            {
                "id": f"{row['name']}/{row['place']}/{row['number']}",
                "conversations": [{"from": "human", "value": f"<image>\n{row['question']}"}],
                "chosen": {"from": "gpt", "value": row["chosen"]},
                "rejected": {"from": "gpt", "value": row["rejected"]},
                "images": [str(store.path_of(digest).resolve()) for digest in shown],
                "meta": {name: row[name] for name in kept},
            }
        )
    return rows
