"""What the alpaca-like formats share: a question and its answer in fields of their own, with earlier rounds."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._fields import Turn, read_text, shown

__all__ = ["read_question", "read_rounds"]


def read_question(record: Mapping[str, Any], *keys: str) -> str:
    """Return the non-empty ones of some texts, one under the other.

    Raises:
        RowError: if all are missing, or one is no text.
    """
    if all(record.get(key) is None for key in keys):
        raise RowError(
            f"`{keys[0]}` must be text, but is missing; the record has {', '.join(record) or 'nothing'}.",
            "missing field",
        )
    texts = [read_text(record, key) for key in keys if record.get(key) is not None]
    return "\n".join(text for text in texts if text)


def read_rounds(
    record: Mapping[str, Any], *, question: str, answer: str | None, system: str | None, history: str | None
) -> list[Turn]:
    """Return a system turn, earlier rounds, the question and its answer; all but the question may be missing.

    Args:
        record: as read.
        question: what is asked last.
        answer: the key of the answer.
        system: the key of the system turn.
        history: the key of a list of pairs, question and answer.

    Raises:
        RowError: if one is of the wrong kind.
    """
    turns: list[Turn] = []
    if system and record.get(system):
        turns.append(("system", read_text(record, system)))
    for asked, said in _pairs(record, history):
        turns.append(("user", asked))
        turns.append(("assistant", said))
    turns.append(("user", question))
    if answer and record.get(answer) is not None:
        turns.append(("assistant", read_text(record, answer)))
    return turns


def _pairs(record: Mapping[str, Any], key: str | None) -> Sequence[Sequence[str]]:
    pairs = record.get(key) if key else None
    if not pairs:
        return []
    is_list = isinstance(pairs, Sequence) and not isinstance(pairs, str)
    if is_list and all(_is_pair(pair) for pair in pairs):
        return pairs
    raise RowError(f"`{key}` must be pairs of question and answer, but is {shown(pairs)} instead.", "wrong value")


def _is_pair(pair: Any) -> bool:
    is_list = isinstance(pair, Sequence) and not isinstance(pair, str)
    return is_list and len(pair) == 2 and all(isinstance(text, str) for text in pair)
