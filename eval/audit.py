"""Which encoders matter: ``python eval/audit.py configs/audit/….yaml model.path=PATH``."""

import sys

from vlmzoo.cli import run_command
from vlmzoo.config import AuditConfig, load_config


def main() -> None:
    """Load the config, disturb one pathway after the other, and print what the answers depend on."""
    from vlmzoo.runs.audit import audit_run

    audit_run(load_config(sys.argv[1:], schema=AuditConfig))


if __name__ == "__main__":
    run_command(main)
