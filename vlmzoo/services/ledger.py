"""The ledger: every call to a judge, a describer or a renderer, by the content that was asked, with answer and cost.

What was asked before is not asked again; a run can be repeated without any service; and what may be spent has a limit.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlmzoo.data.json_lines import JsonLinesWriter, read_json_lines
from vlmzoo.errors import ConfigError, ServiceError

__all__ = ["BudgetSpentError", "Ledger", "LedgerMode", "digest_of"]

LedgerMode: TypeAlias = Literal["record", "replay", "off"]
"""``record``: answers that are known are taken, others are asked for and written down. ``replay``: nothing is asked;
failures come back, too. ``off``: everything is asked, nothing is written."""

SCHEMA = 1


class BudgetSpentError(ServiceError):
    """What may be spent is spent."""


def digest_of(content: Mapping[str, Any]) -> str:
    """Return a digest of JSON values: equal content, equal digest, whatever the order of the keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Ledger:
    """Remembers answers by what was asked.

    Args:
        path: of the JSON lines; None keeps them in memory.
        mode: whether it asks, and writes.
        max_calls: that may be made in all, earlier parts of the run included; None for no limit.
        max_cost: likewise, in the currency of the prices.

    Raises:
        ConfigError: if an option makes no sense.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        mode: LedgerMode = "record",
        max_calls: int | None = None,
        max_cost: float | None = None,
    ) -> None:
        if mode not in ("record", "replay", "off"):
            raise ConfigError(f"`mode` of the ledger must be record, replay or off, but is {mode!r} instead.")
        for name, value in (("max_calls", max_calls), ("max_cost", max_cost)):
            if value is not None and value < 0:
                raise ConfigError(f"`{name}` of the ledger must be zero or more, but is {value} instead.")
        if mode == "replay" and (path is None or not path.exists()):
            raise ConfigError(f"`mode: replay` must have a ledger that was recorded, but there is none at `{path}`.")
        self.path, self.mode, self.max_calls, self.max_cost = path, mode, max_calls, max_cost
        self._lock = threading.RLock()
        self._writer = JsonLinesWriter(path) if path is not None and mode == "record" else None
        self._known: dict[str, dict[str, Any]] = {}
        self.num_calls = 0
        self.cost = 0.0
        self.hits: Counter[str] = Counter()
        for row in read_json_lines(path) if path is not None and mode != "off" else []:
            self._keep(row)

    def find(self, kind: str, identity: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what is known of a call: ``{"answer": …}``, or in replay ``{"failure": …}``; None to ask.

        Raises:
            ServiceError: in replay, if the call was never made.
        """
        key = self._key(kind, identity, content)
        with self._lock:
            row = self._known.get(key)
            if row is not None and (self.mode == "replay" or "answer" in row):
                self.hits[kind] += 1
                return row
        if self.mode == "replay":
            raise ServiceError(
                f"The ledger `{self.path}` holds no {kind} call for {json.dumps(dict(content), default=str)[:120]}; "
                "`mode: replay` needs the run that recorded it, with the same configuration and seed."
            )
        return None

    def admit(self, num: int = 1) -> None:
        """Count calls that are about to be made.

        Raises:
            BudgetSpentError: if they are more than may be made, or as much is spent as may be.
        """
        with self._lock:
            if self.max_calls is not None and self.num_calls + num > self.max_calls:
                raise BudgetSpentError(
                    f"`max_calls` of the ledger is {self.max_calls}, and {self.num_calls} are made; raise it and start "
                    "the same run again: nothing is asked twice."
                )
            if self.max_cost is not None and self.cost >= self.max_cost:
                raise BudgetSpentError(
                    f"`max_cost` of the ledger is {self.max_cost}, and {self.cost:.4f} is spent; raise it and start "
                    "the same run again: nothing is asked twice."
                )
            self.num_calls += num

    def note(
        self,
        kind: str,
        identity: Mapping[str, Any],
        content: Mapping[str, Any],
        *,
        answer: Any = None,
        failure: str | None = None,
        cost: float = 0.0,
        seconds: float = 0.0,
    ) -> None:
        """Write down what came of a call."""
        row: dict[str, Any] = {
            "schema": SCHEMA,
            "key": self._key(kind, identity, content),
            "kind": kind,
            "identity": dict(identity),
            "content": dict(content),
            **({"answer": answer} if failure is None else {"failure": failure}),
            "cost": cost,
            "seconds": round(seconds, 4),
        }
        with self._lock:
            self.cost += cost
            if self.mode == "off":
                return
            self._known[row["key"]] = row
            if self._writer is not None:
                self._writer.write(row)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _keep(self, row: dict[str, Any]) -> None:
        if row.get("schema") != SCHEMA:
            raise ServiceError(
                f"The ledger `{self.path}` must have schema {SCHEMA}, but a row has {row.get('schema')!r} instead; "
                "delete it, or read it with the version that wrote it."
            )
        self._known[row["key"]] = row
        self.num_calls += 1
        self.cost += float(row.get("cost", 0.0))

    def _key(self, kind: str, identity: Mapping[str, Any], content: Mapping[str, Any]) -> str:
        return digest_of({"kind": kind, "identity": identity, "content": content})
