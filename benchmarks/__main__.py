"""Run benchmarks and write the table: ``python benchmarks [NAME ...]``; ``--table`` writes the table only."""

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measuring import one_thread
from recording import latest

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

HERE = Path(__file__).resolve().parent
NAMES = (
    "chunked_head",
    "renderer",
    "native_base",
    "beside_trl",
    "beside_trl_grpo",
    "feature_cache",
    "segmenting",
    "beside_trl_dpo",
    "attention_capture",
    "searching",
    "guidance",
)
TABLE = HERE.parent / "docs" / "results" / "speed.md"
HEADING = """# Speed and memory, measured

Written by `make bench` from `benchmarks/results.json`; the remarks at the end are those of `benchmarks/remarks.md`.
One thread; ratios are of processes or models that took turns on the same machine.

| what | target | measured | when, on what |
|---|---|---|---|
"""


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or all; return 1 if one of them failed."""
    chosen = [name for name in arguments if name != "--table"]
    for name in chosen:
        if name not in NAMES:
            raise ConfigError(
                f"There is no benchmark `{name}`.{nearest_hint(name, NAMES)} There are {', '.join(NAMES)}."
            )
    failed = []
    for name in [] if arguments == ["--table"] else chosen or NAMES:
        command = [sys.executable, str(HERE / f"{name}.py")]
        if subprocess.run(command, env=one_thread(), check=False).returncode:
            failed.append(name)
    write_table()
    if failed:
        sys.stderr.write(f"Failed: {', '.join(failed)}.\n")
    return int(bool(failed))


def write_table() -> Path:
    """Write ``docs/results/speed.md`` from the newest entries."""
    found = latest()
    lines = [line for name in NAMES if name in found for line in _lines(name, found[name])]
    remarks = (HERE / "remarks.md").read_text(encoding="utf-8")
    return write_whole(TABLE, HEADING + "\n".join(lines) + "\n\n" + remarks)


def _lines(name: str, entry: dict[str, Any]) -> Iterator[str]:
    versions = entry["versions"]
    packages = ["torch", "transformers", *(["trl"] if name.startswith("beside_trl") else [])]
    where = ", ".join(
        [
            entry["date"],
            entry["cpu"],
            *(f"{package} {versions[package]}" for package in packages if package in versions),
        ]
    )
    for what, target, measured in importlib.import_module(name).rows(entry):
        yield f"| {what} | {target} | {measured} | {where} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
