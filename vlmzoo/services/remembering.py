"""Calls of services that are remembered: what a ledger knows is taken from it, the rest is asked for at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from vlmzoo.services.judges import Judge, JudgeItem, Verdict
from vlmzoo.services.ledger import Ledger

__all__ = ["remembered", "remembered_verdicts"]

T = TypeVar("T")


def remembered(
    ledger: Ledger,
    kind: str,
    identity: Mapping[str, Any],
    contents: Sequence[Mapping[str, Any]],
    *,
    read: Callable[[Mapping[str, Any]], T],
    ask: Callable[[list[int]], list[tuple[T, dict[str, Any]]]],
) -> list[T]:
    """Answer from the ledger what is known, and ask for the rest in one call.

    Args:
        ledger: of the run.
        kind: of the call, e.g. ``judge``.
        identity: of the service.
        contents: what is asked, one for each answer.
        read: turns a row of the ledger into an answer.
        ask: answers those of these numbers, each with what the ledger notes of it.

    Raises:
        BudgetSpentError: if more would be asked than may be.
        ServiceError: in replay, if a call was never made.
    """
    rows = [ledger.find(kind, identity, content) for content in contents]
    missing = [number for number, row in enumerate(rows) if row is None]
    known: dict[int, T] = {number: read(row) for number, row in enumerate(rows) if row is not None}
    if missing:
        ledger.admit(len(missing))
        started = time.perf_counter()
        answers = ask(missing)
        seconds = (time.perf_counter() - started) / len(missing)
        for number, (value, row) in zip(missing, answers, strict=True):
            ledger.note(kind, identity, contents[number], seconds=seconds, **row)
            known[number] = value
    return [known[number] for number in range(len(contents))]


def remembered_verdicts(judge: Judge, ledger: Ledger, items: Sequence[JudgeItem]) -> list[Verdict]:
    """Judge answers, asking only for those that the ledger does not know.

    Raises:
        BudgetSpentError: if more would be asked than may be.
        ServiceError: in replay, if a call was never made.
    """

    def ask(numbers: list[int]) -> list[tuple[Verdict, dict[str, Any]]]:
        return [(one, _row_of(one)) for one in judge.score([items[number] for number in numbers])]

    contents = [item.content() for item in items]
    return remembered(ledger, "judge", judge.identity, contents, read=_verdict_of, ask=ask)


def _row_of(verdict: Verdict) -> dict[str, Any]:
    if verdict.is_failure:
        return {"failure": verdict.reason, "cost": verdict.cost}
    answer = {"score": verdict.score, "reason": verdict.reason, "text": verdict.text}
    return {"answer": answer, "cost": verdict.cost}


def _verdict_of(row: Mapping[str, Any]) -> Verdict:
    answer = row.get("answer")
    if answer is None:
        return Verdict(score=None, reason=row.get("failure", ""), is_failure=True)
    return Verdict(score=answer["score"], reason=answer["reason"], text=answer["text"])
