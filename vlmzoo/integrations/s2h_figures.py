"""Matplotlib: the figures of S2H as the authors' code draws them, to the last pixel with their version (3.9.2).

Source: S2H, arXiv:2501.02669, section 2; sizes and order of the calls were found by comparing with released pictures.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.errors import MissingExtraError

__all__ = ["check_installed", "draw_grid", "draw_table"]

_DPI = 100
_HEADER_FILL, _BODY_FILL, _PATH_FILL = "#40466e", "#f5f5f5", "yellow"
_LONG_NAME = 6  # letters; longer names of columns are smaller
_ROOM = {"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 0.99}  # which the tight layout starts from
_GRID_FILLS = {1: "skyblue", 2: "darkgreen"}


def check_installed() -> None:
    """Say before the work begins whether it can be done.

    Raises:
        MissingExtraError: if Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError.for_package("matplotlib", "s2h") from error


def draw_table(table: TableInstance, words: tuple[str, ...]) -> Image.Image:
    """Draw a table, 1500 x 800 pixels.

    Args:
        table: the instance.
        words: of the digits 0 to 9.
    """
    with _figure(width_in=15, height_in=8) as (figure, axes):
        axes.axis("off")
        figure.subplots_adjust(**_ROOM)
        drawn = axes.table(
            cellText=[[words[value] for value in row] for row in table.values],
            rowLabels=table.row_names,
            colLabels=table.col_names,
            colWidths=[1 / (len(table.col_names) + 1)] * len(table.col_names),
            loc="center",
            cellLoc="center",
            rowLoc="left",
        )
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(16)
        for (row, col), cell in drawn.get_celld().items():
            cell.set_height(0.1)
            if row and col >= 0:
                cell.set_facecolor(_PATH_FILL if (row - 1, col) in table.highlighted else _BODY_FILL)
                continue
            cell.set_facecolor(_HEADER_FILL)
            cell.set_text_props(color="w", weight="bold")
            if not row and len(table.col_names[col]) > _LONG_NAME:
                cell.set_fontsize(14)
        figure.tight_layout()
        return _pixels(figure)


def draw_grid(grid: GridInstance, symbols: Mapping[str, str]) -> Image.Image:
    """Draw a grid, 1000 x 1000 pixels.

    Args:
        grid: the instance.
        symbols: what is drawn for each name.
    """
    with _figure(width_in=10, height_in=10) as (figure, axes):
        from matplotlib.patches import Rectangle  # pyright: ignore[reportMissingImports]

        for row, codes in enumerate(grid.cells):
            bottom = grid.num_rows - 1 - row
            for col, code in enumerate(codes):
                fill = _GRID_FILLS.get(code, "white")
                axes.add_patch(Rectangle((col, bottom), 1, 1, facecolor=fill, edgecolor="black", linewidth=2))
                if code < 0 or code > len(_GRID_FILLS):
                    symbol = symbols[grid.name_at(row, col)]
                    axes.text(col + 0.5, bottom + 0.5, symbol, fontsize=40, ha="center", va="center")
        axes.set(xlim=(0, grid.num_cols), ylim=(0, grid.num_rows), aspect="equal")
        letters = [chr(ord("a") + number) for number in range(max(grid.num_rows, grid.num_cols))]
        axes.set_xticks(np.arange(grid.num_cols) + 0.5, letters[: grid.num_cols], fontsize=20)
        axes.set_yticks(np.arange(grid.num_rows) + 0.5, letters[: grid.num_rows][::-1], fontsize=20)
        return _pixels(figure)


@contextmanager
def _figure(*, width_in: float, height_in: float) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes, in Matplotlib's own style whatever the user's is, and without a window."""
    check_installed()
    from matplotlib import style  # pyright: ignore[reportMissingImports]
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    with style.context("default"):
        figure = Figure(figsize=(width_in, height_in), dpi=_DPI)
        FigureCanvasAgg(figure)
        yield figure, figure.subplots()


def _pixels(figure: Any) -> Image.Image:
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
