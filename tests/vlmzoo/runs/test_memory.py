import math

from vlmzoo.runs import memory


def test_the_peak_is_at_least_what_is_in_use():
    in_use, peak = memory.rss_mb(), memory.peak_rss_mb()
    assert math.isnan(peak) or 1 < in_use <= peak


def test_where_the_system_does_not_say_there_is_no_number(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    assert math.isnan(memory.rss_mb())
