"""How much memory this process holds, in MB of 10^6 bytes, and whether it gives back what it frees."""

import ctypes
import math
import sys
from pathlib import Path

__all__ = ["keep_freed_memory", "peak_rss_mb", "rss_mb"]

_STATUS = Path("/proc/self/status")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES, _LARGEST_ON_HEAP = 2**31 - 1, 32 * 2**20  # the most that glibc takes


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for steps on a CPU ask for the same tensors again and again.

    glibc otherwise returns them to the system after every backward pass, and the next step pays for each page anew.

    Returns:
        Whether the C library took the advice; only glibc does.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP))


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
