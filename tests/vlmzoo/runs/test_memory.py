import math
import platform

import pytest

from vlmzoo.runs import memory


def test_the_peak_is_at_least_what_is_in_use():
    in_use, peak = memory.rss_mb(), memory.peak_rss_mb()
    assert math.isnan(peak) or 1 < in_use <= peak


def test_where_the_system_does_not_say_there_is_no_number(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    assert math.isnan(memory.rss_mb())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes the advice")
def test_freed_memory_is_kept(fresh_python):
    code = """
import resource, torch
from vlmzoo.runs.memory import keep_freed_memory
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def churn():
    before = faults()
    for _ in range(20): [torch.zeros(2**20) for _ in range(8)]
    return faults() - before
churn(); loose = churn(); assert keep_freed_memory(); churn(); kept = churn()
print(loose, kept)
"""
    loose, kept = map(int, fresh_python(code).split())
    assert kept <= loose and kept < 2000  # returned and fetched again, it would be 160,000 pages
