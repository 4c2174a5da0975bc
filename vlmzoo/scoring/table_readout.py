"""Scores of the table tasks: the addends must be right, one by one, and not their sum alone.

Source: S2H, arXiv:2501.02669, evaluation. Both scores read the authors' format and the ``compact`` style of
``vlmzoo.data.synthetic`` alike.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from vlmzoo.scoring import SCORES

__all__ = ["TableCotExactMatch", "TableExactMatch", "stated_addends"]

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_TOTAL = "total is"
_NUM_FIELDS = (3, 5)  # row index, column index, the names of both (not in style `compact`), value


@SCORES.register("table_exact_match", source="S2H, arXiv:2501.02669, evaluation of the table tasks", tiny={})
@dataclass(frozen=True, kw_only=True)
class TableExactMatch:
    """1 where the addends of the last stated total are those of the path, in order, else 0.

    The sum itself is not looked at, as in the authors' evaluation: right addends with a wrong sum score 1.
    """

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, the addends with commas between them (or a sequence of them)."""
        addends = stated_addends(completion)
        return float(bool(addends) and ",".join(addends) == _joined(reference))


@SCORES.register("table_cot_exact_match", source="S2H, arXiv:2501.02669, evaluation of the table tasks", tiny={})
@dataclass(frozen=True, kw_only=True)
class TableCotExactMatch:
    """1 where the last fields of the enumerated lines are the values of the path, in order, else 0.

    The enumeration is the last unbroken run of lines of five fields (three in style ``compact``) whose first two are
    numbers, before the total.
    Fields are separated by tabs; in a line without a tab, by spaces.
    """

    def __call__(self, completion: str, reference: Any) -> float:
        """Compare with ``reference``, the addends with commas between them (or a sequence of them)."""
        values = _enumerated_values(completion)
        return float(bool(values) and ",".join(values) == _joined(reference))


def stated_addends(completion: str) -> list[str]:
    """Return the numbers between the last ``total is`` and the next ``=``; none where either is missing."""
    _, found, sum_text = completion.rpartition(_TOTAL)
    addends, equals, _ = sum_text.partition("=")
    return _NUMBER.findall(addends) if found and equals else []


def _enumerated_values(completion: str) -> list[str]:
    """Return the last fields of the last run of enumerated lines."""
    before, found, after = completion.rpartition(_TOTAL)
    runs: list[list[str]] = [[]]
    for line in (before if found else after).splitlines():
        fields = _fields(line)
        if fields is not None:
            runs[-1].append(fields[-1])
        elif runs[-1]:
            runs.append([])
    return runs[-1] or (runs[-2] if len(runs) > 1 else [])


def _fields(line: str) -> list[str] | None:
    """Return the fields of an enumerated line, or None where it is another line."""
    parts = [part.strip() for part in (line.split("\t") if "\t" in line else line.split())]
    is_enumerated = len(parts) in _NUM_FIELDS and _is_number(parts[0]) and _is_number(parts[1])
    return parts if is_enumerated else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _joined(reference: Any) -> str:
    """Return the addends as the data write them, with commas between them."""
    if isinstance(reference, Sequence) and not isinstance(reference, str):
        return ",".join([str(value) for value in cast("Sequence[object]", reference)])
    return "".join(str(reference).split())
