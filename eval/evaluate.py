"""Measure what a config describes: ``python eval/evaluate.py configs/eval/….yaml model.path=PATH``."""

import sys

from vlmzoo.cli import run_command
from vlmzoo.config import EvalConfig, load_config


def main() -> None:
    """Load the config, ask the benchmarks, write the scores and print the table."""
    from vlmzoo.runs import evaluate_run

    evaluate_run(load_config(sys.argv[1:], schema=EvalConfig))


if __name__ == "__main__":
    run_command(main)
