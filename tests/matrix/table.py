"""Run every pair, keep what came of it, and write the table: ``python -m tests.matrix.table [BASE]``.

It goes on where it stopped: a pair that passed with these versions is not run again.
"""

import datetime
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.matrix.checks import check_all
from tests.matrix.pairs import BASES, PAIRS, SETS

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "matrix.json"
MARKS = ("<!-- matrix: begin -->", "<!-- matrix: end -->")
PAGE = RESULTS.with_suffix(".md")
_LOG = logging.getLogger(__name__)


def read_results() -> dict[str, Any]:
    """What is known so far."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"pairs": {}}


def render(results: dict[str, Any]) -> str:
    """The table: steps until eight samples were known by heart; a dash where a pair has not been run."""
    found = results["pairs"]
    lines = [f"| base | {' | '.join(SETS)} |", "|---" * (len(SETS) + 1) + "|"]
    for base, label in BASES.items():
        cells = [found.get(f"{base}: {adapters}", {}).get("shown", "–") for adapters in SETS]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    passed = sum(pair["shown"] != "failed" for pair in found.values())
    return "\n".join([*lines, "", f"{passed} of {len(PAIRS)} pairs have passed; {len(found)} have been run."])


def with_table(page: str, table: str) -> str:
    """A page with the table between its marks."""
    before, rest = page.split(MARKS[0])
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def run(only: list[str]) -> None:
    """Run what has not passed yet."""
    results = read_results()
    versions = {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
    for base, adapters in PAIRS:
        name = f"{base}: {adapters}"
        held = results["pairs"].get(name, {})
        if (only and base not in only) or (held.get("versions") == versions and held["shown"] != "failed"):
            continue
        pair: dict[str, Any] = {"versions": versions, "date": datetime.date.today().isoformat()}
        try:
            with tempfile.TemporaryDirectory() as folder:
                pair["shown"] = str(check_all(base, adapters, Path(folder)))
        except Exception as error:  # it is written down, and the others go on
            pair |= {"shown": "failed", "reason": f"{type(error).__name__}: {str(error)[:300]}"}
        _LOG.warning("%s: %s", name, pair["shown"])
        results["pairs"][name] = pair
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), render(results)), encoding="utf-8")


if __name__ == "__main__":
    run(sys.argv[1:])
