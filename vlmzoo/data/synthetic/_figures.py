"""Pictures by Matplotlib, for those who need the authors' pixels: slow, and with an optional package.

Source: S2H, arXiv:2501.02669. Those of tables and grids equal the authors' byte for byte where Matplotlib's version is
theirs (3.9.2); later ones set letters otherwise.
"""

from collections.abc import Mapping

from PIL.Image import Image

from vlmzoo.data.sources._integrations import integration
from vlmzoo.data.synthetic import ImageMode
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_image import DIGIT_WORDS

__all__ = ["MATPLOTLIB", "GridFigures", "TableFigures"]

MATPLOTLIB = "matplotlib"
"""What a config writes as ``image``."""


class TableFigures:
    """Draws tables.

    Raises:
        MissingExtraError: if Matplotlib is not installed.
    """

    def __init__(self) -> None:
        integration("s2h_figures").check_installed()

    def draw(self, table: TableInstance, *, mode: ImageMode = "RGB") -> Image:
        """Draw one table; it has too many colours for a palette, so that every mode is ``RGB``."""
        return integration("s2h_figures").draw_table(table, DIGIT_WORDS)


class GridFigures:
    """Draws grids.

    Args:
        symbols: what is drawn for each name.

    Raises:
        MissingExtraError: if Matplotlib is not installed.
    """

    def __init__(self, symbols: Mapping[str, str]) -> None:
        integration("s2h_figures").check_installed()
        self.symbols = symbols

    def draw(self, grid: GridInstance, *, mode: ImageMode = "RGB") -> Image:
        """Draw one grid; every mode is ``RGB``."""
        return integration("s2h_figures").draw_grid(grid, self.symbols)
