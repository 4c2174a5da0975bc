"""Matplotlib: the curves of a run as PNG files, for light and for dark pages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmzoo.errors import MissingExtraError
from vlmzoo.scoring.statistics import Interval

__all__ = ["DARK", "LIGHT", "Look", "draw_curve", "draw_lines", "draw_path"]

_MAX_POINTS = 2000  # more do not show at this size
_SMOOTHED_SHARE = 0.04  # of the points, in one window of the running mean


@dataclass(frozen=True)
class Look:
    """Colours of a picture.

    Args:
        ink: text and axes.
        faint: grid lines.
        line: the curve.
    """

    ink: str
    faint: str
    line: str


LIGHT = Look(ink="#3b4252", faint="#e3e6eb", line="#1f6feb")
DARK = Look(ink="#c3c9d4", faint="#343b47", line="#6cb0ff")


def draw_curve(
    path: Path,
    steps: Sequence[float],
    values: Sequence[float],
    *,
    label: str,
    look: Look = LIGHT,
    is_smoothed: bool = False,
) -> Path:
    """Draw one curve over the steps, on a transparent ground.

    Args:
        path: of the PNG file; its folder is made.
        steps: ``(S,)``, growing.
        values: ``(S,)``.
        label: what the values are, with their unit.
        look: colours.
        is_smoothed: whether a running mean is drawn over the values, which turn pale.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: it keeps figures, and asks for a display
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingExtraError.for_package("matplotlib", "train") from error
    stride = max(1, len(steps) // _MAX_POINTS)
    figure = Figure(figsize=(4.6, 2.7), dpi=180, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps[::stride], values[::stride], color=look.line, linewidth=1.1, alpha=0.35 if is_smoothed else 1.0)
    if is_smoothed:
        smooth = _running_mean(values, window=max(1, round(len(values) * _SMOOTHED_SHARE)))
        axes.plot(steps[::stride], smooth[::stride], color=look.line, linewidth=1.8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _dress(axes, label, look)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True)
    return path


def draw_lines(
    path: Path,
    lines: Mapping[str, Sequence[tuple[float, Interval]]],
    *,
    x_label: str,
    y_label: str,
    look: Look = LIGHT,
) -> Path:
    """Draw means with their intervals, a line for each name, on a white ground.

    Args:
        path: of the PNG file; its folder is made.
        lines: ``{name: [(x, interval), …]}``, x positive and growing; shown on a logarithmic axis.
        x_label: what x is.
        y_label: what the intervals are about.
        look: colours of ink and grid.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_package("matplotlib", "train") from error
    figure = Figure(figsize=(5.6, 3.4), dpi=180, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(lines.items()):
        places = [x * (1 + 0.012 * (number - (len(lines) - 1) / 2)) for x, _ in points]  # side by side, not on top
        means = [interval.mean for _, interval in points]
        below = [interval.mean - interval.low for _, interval in points]
        above = [interval.high - interval.mean for _, interval in points]
        axes.errorbar(places, means, yerr=[below, above], marker="o", markersize=3.5, capsize=2, label=name)
    _dress(axes, y_label, look)
    axes.set_xlabel(x_label, color=look.ink)
    axes.set_xscale("log")
    budgets = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xticks(budgets, [f"{x:,.0f}" for x in budgets])
    axes.minorticks_off()
    axes.margins(x=0.08)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False, fontsize=8, labelcolor=look.ink)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def draw_path(
    path: Path,
    line: Sequence[tuple[float, float]],
    points: Mapping[str, tuple[float, float]],
    *,
    x_label: str,
    y_label: str,
    look: Look = LIGHT,
) -> Path:
    """Draw a path in the plane, and points with their names, on a white ground.

    Args:
        path: of the PNG file; its folder is made.
        line: ``[(x, y), …]``.
        points: by name.
        x_label: what x is.
        y_label: what y is, within 0 and 1.
        look: colours of ink and grid.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.for_package("matplotlib", "train") from error
    figure = Figure(figsize=(5.6, 3.4), dpi=180, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([x for x, _ in line], [y for _, y in line], color=look.line, linewidth=1.2, alpha=0.6)
    for name, (x, y) in points.items():
        axes.plot([x], [y], marker="o", markersize=5, linestyle="none", label=name)
    _dress(axes, y_label, look)
    axes.set_xlabel(x_label, color=look.ink)
    axes.margins(x=0.08)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False, fontsize=8, labelcolor=look.ink)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _running_mean(values: Sequence[float], *, window: int) -> list[float]:
    """Average each value with those around it that are finite, over about ``window`` of them; fewer at the ends."""
    totals, counts = [0.0], [0]
    for value in values:
        is_finite = math.isfinite(value)
        totals.append(totals[-1] + (value if is_finite else 0.0))
        counts.append(counts[-1] + is_finite)
    bounds = [(max(0, i - window // 2), min(len(values), i + window // 2 + 1)) for i in range(len(values))]
    return [
        (totals[stop] - totals[start]) / (counts[stop] - counts[start]) if counts[stop] > counts[start] else math.nan
        for start, stop in bounds
    ]


def _dress(axes: Any, label: str, look: Look) -> None:
    """Name the axes and keep the lines few."""
    axes.set_xlabel("step", color=look.ink)
    axes.set_title(label, color=look.ink, loc="left", fontsize=11)
    axes.tick_params(colors=look.ink, length=0)
    axes.grid(axis="y", color=look.faint)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(look.faint)
