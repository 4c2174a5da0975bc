"""How much SIMPLE images teach of HARD ones: ``python eval/gradient_alignment.py CONFIG model.path=PATH``."""

import sys

from vlmzoo.cli import run_command
from vlmzoo.config import AlignmentConfig, load_config


def main() -> None:
    """Load the config, take the gradients, write the figures and print them."""
    from vlmzoo.runs import alignment_run

    alignment_run(load_config(sys.argv[1:], schema=AlignmentConfig))


if __name__ == "__main__":
    run_command(main)
