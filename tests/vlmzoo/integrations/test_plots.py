import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmzoo.errors import MissingExtraError
from vlmzoo.integrations.plots import DARK, LIGHT, _running_mean, draw_curve

sixteenths = st.integers(-64, 64).map(lambda count: count / 16)


@given(st.lists(sixteenths, min_size=1, max_size=30), st.integers(1, 9))
def test_a_running_mean_stays_between_the_least_and_the_largest_value(values, window):
    smooth = _running_mean(values, window=window)
    assert len(smooth) == len(values)
    assert all(min(values) <= value <= max(values) for value in smooth)


@given(sixteenths, st.integers(1, 30), st.integers(1, 9))
def test_a_running_mean_leaves_a_constant_alone(value, num, window):
    assert _running_mean([value] * num, window=window) == [value] * num


def test_a_value_that_is_no_number_leaves_the_mean_of_its_neighbours():
    smooth = _running_mean([1.0, float("nan"), 3.0, 3.0], window=3)
    assert smooth == [1.0, 2.0, 3.0, 3.0]


def test_a_curve_is_drawn_in_the_colour_of_the_look_on_a_transparent_ground(tmp_path):
    for look in (LIGHT, DARK):
        path = draw_curve(tmp_path / "new" / "curve.png", range(10), [1.0] * 10, label="loss", look=look)
        image = Image.open(path).convert("RGBA")
        assert image.getpixel((0, 0))[3] == 0
        colour = tuple(int(look.line[i : i + 2], 16) for i in (1, 3, 5))
        assert any(pixel[:3] == colour for _, pixel in image.getcolors(maxcolors=1 << 20))


def test_long_runs_and_losses_that_are_no_number_are_drawn(tmp_path):
    values = [1.0 / (i + 1) for i in range(10_000)] + [float("nan")]
    assert draw_curve(tmp_path / "curve.png", range(10_001), values, label="loss", is_smoothed=True).is_file()


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"vlmzoo\[train\]"):
        draw_curve(tmp_path / "curve.png", [1, 2], [1.0, 2.0], label="loss")
