"""How much memory this process holds, in MB of 10^6 bytes."""

import math
from pathlib import Path

__all__ = ["peak_rss_mb", "rss_mb"]

_STATUS = Path("/proc/self/status")


def rss_mb() -> float:
    """Return the memory in use now; NaN where the system does not say."""
    return _status_mb("VmRSS")


def peak_rss_mb() -> float:
    """Return the most memory that was in use since the process began; NaN where the system does not say.

    ``VmHWM`` and not ``getrusage``, whose peak includes that of the program that launched this one.
    """
    return _status_mb("VmHWM")


def _status_mb(field: str) -> float:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return math.nan
    sizes_kib = [float(line.split()[1]) for line in lines if line.startswith(f"{field}:")]
    return sizes_kib[0] * 1024 / 1e6 if sizes_kib else math.nan
