"""One file of answers by three rules: ``python eval/compare_scores.py RUN/pope/generations.jsonl task=pope``."""

import sys
from pathlib import Path

from rich.console import Console

from vlmzoo.cli import run_command
from vlmzoo.errors import ConfigError


def main() -> None:
    """Score a file as lmms-eval, VLMEvalKit and the paper do, print why they differ, and write it beside the file."""
    from vlmzoo.evaluation.compare_scores import compare_scores, comparison_tables

    path, options = _read(sys.argv[1:])
    comparison = compare_scores(path, task=options["task"])
    console = Console()
    for table in comparison_tables(comparison):
        console.print(table)
    for written in comparison.write(options.get("out", path.parent)):
        console.print(str(written), highlight=False)


def _read(arguments: list[str]) -> tuple[Path, dict[str, str]]:
    paths = [argument for argument in arguments if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(paths) != 1 or "task" not in options or not set(options) <= {"task", "out"}:
        raise ConfigError(f"Give one generations.jsonl, `task=NAME`, and `out=FOLDER` if need be, not {arguments}.")
    return Path(paths[0]), options


if __name__ == "__main__":
    run_command(main)
