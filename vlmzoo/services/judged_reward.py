"""A judge as a reward: online preferences and policy gradients can learn from the same one.

Letters: N completions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.services.judges import JUDGES, JudgeItem
from vlmzoo.services.ledger import Ledger
from vlmzoo.services.remembering import remembered_verdicts

__all__ = ["JudgedReward", "ledger_of"]


class JudgedReward:
    """Scores of a judge, from 0 to 10, times a scale; None where there is none.

    Args:
        judge: ``{type: name, …}`` for the registry of judges.
        scale: what a point is worth.
        ledger: ``{path, mode: record | replay | off, max_calls, max_cost}``; without a path it is kept in memory.

    Raises:
        ConfigError: if one of them makes no sense.
        ServiceError: if the judge cannot be reached; within seconds, with its address.
    """

    def __init__(
        self, *, judge: Mapping[str, Any], scale: float = 0.1, ledger: Mapping[str, Any] | None = None
    ) -> None:
        self.judge, self.scale = JUDGES.build(judge), scale
        self.ledger = ledger_of(ledger)
        if self.ledger.mode != "replay":
            self.judge.check()

    def __call__(self, items: Sequence[JudgeItem]) -> list[tuple[float | None, str]]:
        """Judge N completions in one call.

        Returns:
            For each its reward, or None and why there is none.
        """
        verdicts = remembered_verdicts(self.judge, self.ledger, items)
        return [(None if one.score is None else self.scale * one.score, one.reason) for one in verdicts]


def ledger_of(spec: Mapping[str, Any] | None) -> Ledger:
    """Build a ledger as a configuration writes it.

    Raises:
        ConfigError: if an option is unknown.
    """
    options = dict(spec or {})
    unknown = set(options) - {"path", "mode", "max_calls", "max_cost"}
    if unknown:
        raise ConfigError(f"`ledger` takes path, mode, max_calls and max_cost, but has {sorted(unknown)}, too.")
    path = options.pop("path", None)
    return Ledger(None if path is None else Path(path).expanduser(), **options)
