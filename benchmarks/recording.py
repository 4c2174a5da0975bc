"""What a benchmark leaves behind: one JSON line on the screen, and one entry in ``results.json``."""

import datetime
import json
import platform
import sys
from pathlib import Path
from typing import Any

from vlmzoo.config.resolved import find_commit, installed_versions
from vlmzoo.data.json_lines import write_whole

__all__ = ["RESULTS", "latest", "record"]

RESULTS = Path(__file__).with_name("results.json")


def record(benchmark: str, **measured: Any) -> dict[str, Any]:
    """Print a result and append it to ``results.json``, with the versions, the date and the processor.

    Args:
        benchmark: the script's name.
        measured: JSON values by name.

    Returns:
        The entry.
    """
    entry = {
        "benchmark": benchmark,
        **measured,
        "date": datetime.date.today().isoformat(),
        "cpu": _processor(),
        "commit": find_commit(),
        "versions": installed_versions(),
    }
    write_whole(RESULTS, json.dumps([*_entries(), entry], indent=1) + "\n")
    sys.stdout.write(json.dumps(entry) + "\n")
    return entry


def latest() -> dict[str, dict[str, Any]]:
    """Return the newest entry of each benchmark."""
    return {entry["benchmark"]: entry for entry in _entries()}


def _entries() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []


def _processor() -> str:
    """Return the name of the processor as Linux tells it, else what Python knows."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8", errors="replace").splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
