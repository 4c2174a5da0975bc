"""Where the cells of a drawn table stand.

Source: S2H, arXiv:2501.02669; the numbers of ``figure_layout`` were measured on the authors' figures, which Matplotlib
laid out. Letters: R rows, C columns, without the header row and the label column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmzoo.data.synthetic._table_look import TableLook
from vlmzoo.errors import ConfigError

__all__ = ["TableLayout", "figure_layout", "grid_layout"]

FIGURE_SIZE_PX = (1500, 800)
_PAD_PX = 15  # of a figure with a font of 10 pt: 1.08 x 10 pt at 100 dpi
_ROW_HEIGHT = 0.1  # as a fraction of the height of the axes
_LABEL_PADDING = 0.1  # on each side of the longest label, as a fraction of its width; as an indent, of its cell
_TALL_TABLE_PX = 782  # height of the axes that a table of more than ten rows is measured against


@dataclass(frozen=True)
class TableLayout:
    """Where everything stands, in pixels.

    Args:
        col_edges: left edges of the label column and of the C data columns, and the right end: C + 2 numbers.
        row_edges: top edges of the header and of the R rows, and the bottom end: R + 2 numbers.
        width: of the canvas.
        height: of the canvas.
        label_indent: from the left edge of the label column to its text; None where labels are centred.
    """

    col_edges: tuple[int, ...]
    row_edges: tuple[int, ...]
    width: int
    height: int
    label_indent: int | None = None


def grid_layout(look: TableLook, num_rows: int, num_cols: int) -> TableLayout:
    """Lay out cells of one size, header row and label column included."""
    cell_width, cell_height, margin = look.cell_width or 0, look.cell_height or 0, look.margin
    return TableLayout(
        col_edges=tuple(margin + cell_width * col for col in range(num_cols + 2)),
        row_edges=tuple(margin + cell_height * row for row in range(num_rows + 2)),
        width=2 * margin + cell_width * (num_cols + 1),
        height=2 * margin + cell_height * (num_rows + 1),
    )


def figure_layout(look: TableLook, num_rows: int, num_cols: int, label_width_px: float) -> TableLayout:
    """Lay a table out as Matplotlib's tight layout does.

    A data column takes 1 / (C + 1) of the axes' width, and the data columns together stand in the middle of the axes.
    The label column is put before them, and the axes are narrowed on the left by as much as it had stuck out of the
    full axes: so long labels make narrow cells. A table of more than ten rows, header included, likewise lowers the
    axes.

    Args:
        look: sizes.
        num_rows: R.
        num_cols: C.
        label_width_px: of the longest label.

    Raises:
        ConfigError: if the cells would be smaller than a letter.
    """
    width, height = look.width or FIGURE_SIZE_PX[0], look.height or FIGURE_SIZE_PX[1]
    label_width_px *= 1 + 2 * _LABEL_PADDING
    full_width, full_height = width - 2 * _PAD_PX, height - 2 * _PAD_PX
    sticking_out = max(0.0, label_width_px - full_width / (2 * (num_cols + 1)))
    axes_left, axes_width = _PAD_PX + sticking_out, full_width - sticking_out
    cell_width = axes_width / (num_cols + 1)
    data_left = axes_left + cell_width / 2

    tall_height = _TALL_TABLE_PX * height / FIGURE_SIZE_PX[1]
    axes_height = full_height - max(0.0, _ROW_HEIGHT * (num_rows + 1) - 1) * tall_height
    cell_height = _ROW_HEIGHT * axes_height
    if min(cell_width, cell_height) < (look.font_px or 0) or min(cell_width, cell_height) < 1:
        raise ConfigError(
            f"`image.width` and `image.height` must hold {num_rows} rows and {num_cols} columns, but are {width} and "
            f"{height} instead: make the figure larger or `image.font_px` smaller, or give `image.cell_width` and "
            "`image.cell_height`."
        )
    top = (height - cell_height * (num_rows + 1)) / 2
    return TableLayout(
        col_edges=_rounded([data_left - label_width_px, *[data_left + cell_width * i for i in range(num_cols + 1)]]),
        row_edges=_rounded([top + cell_height * row for row in range(num_rows + 2)]),
        width=width,
        height=height,
        label_indent=round(label_width_px * _LABEL_PADDING),
    )


def _rounded(edges: Sequence[float]) -> tuple[int, ...]:
    return tuple([round(edge) for edge in edges])
