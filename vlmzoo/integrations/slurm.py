"""SLURM: which process of a job step this is, as `srun` says it when no launcher stands between."""

import re
from collections.abc import Mapping

from vlmzoo.errors import ConfigError

__all__ = ["slurm_rank"]


def slurm_rank(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a launcher would have set, from the variables of `srun`; nothing outside a step of several tasks.

    Args:
        environment: of the process. ``MASTER_ADDR`` and ``MASTER_PORT`` are kept where they are set; otherwise the
            processes meet on the first host of the step, at a port that follows from the number of the job.

    Raises:
        ConfigError: if the step does not say where its processes could meet.
    """
    num_tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")  # set by srun alone, not in the batch script itself
    if num_tasks == "1":
        return {}
    host = environment.get("MASTER_ADDR") or _first_host(environment.get("SLURM_STEP_NODELIST", ""))
    if not host:
        raise ConfigError(
            f"This is one of {num_tasks} tasks that srun started, but `SLURM_STEP_NODELIST` names no host where they "
            "could meet; export MASTER_ADDR before srun."
        )
    job = int(environment.get("SLURM_JOB_ID", "0")) + int(environment.get("SLURM_STEP_ID", "0"))
    return {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": num_tasks,
        "MASTER_ADDR": host,
        "MASTER_PORT": environment.get("MASTER_PORT") or str(20_000 + job % 20_000),
    }


def _first_host(nodes: str) -> str:
    """Return the first host of a list as SLURM writes it: ``gpu[003-005,9],login1`` begins with ``gpu003``."""
    found = re.match(r"(?P<stem>[^,\[]+)(\[(?P<number>\d+)[^\]]*\](?P<rest>[^,\[]*))?", nodes)
    return "" if found is None else "".join(found[part] or "" for part in ("stem", "number", "rest"))
