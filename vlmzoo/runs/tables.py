"""Tables in Markdown, as summaries of several runs write them."""

from collections.abc import Iterable, Sequence

from vlmzoo.scoring.statistics import Interval

__all__ = ["interval_cell", "listed_values", "markdown_table"]


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells."""
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows)])


def interval_cell(mean: float, interval: Interval | None, *, sign: str = "") -> str:
    """Return a mean with its interval, if it has one; with ``sign="+"`` as a difference."""
    ends = "" if interval is None else f" ({interval.low:{sign}.3f} – {interval.high:{sign}.3f})"
    return f"{mean:{sign}.3f}{ends}"


def listed_values(values: Iterable[float], *, sign: str = "") -> str:
    """Return values with commas between."""
    return ", ".join([f"{value:{sign}.3f}" for value in values])
