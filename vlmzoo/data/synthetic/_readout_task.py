"""What the table tasks share, however their paths run: words, names and looks."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from vlmzoo.data.synthetic._checks import check_choice
from vlmzoo.data.synthetic._figures import MATPLOTLIB, TableFigures
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_image import TableRenderer
from vlmzoo.data.synthetic._table_look import TableLook
from vlmzoo.data.synthetic._table_text import COT_STYLES, TableStyle, TableWording, compact_wording, latex_wording
from vlmzoo.data.synthetic._task import DrawnTask
from vlmzoo.errors import ConfigError

__all__ = ["TableImage", "TableTask"]

TableImage: TypeAlias = Mapping[str, Any] | TableLook | Literal["matplotlib"] | None
"""How tables are drawn: options of ``TableLook``, or by Matplotlib."""

_COMPACT_CELL_PX = 32


class TableTask(DrawnTask[TableInstance]):
    """Shows and asks about tables that a subclass draws.

    Args:
        name: that the task is registered under, and its prompts in ``prompts/s2h.yaml``.
        level: of difficulty.
        style: ``latex``, the authors' words, or ``compact``.
        name_pools: draw rows' and columns' names from the first so many only.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``.

    Raises:
        ConfigError: if there is no such style, or a pool holds fewer names.
    """

    cot_styles = COT_STYLES
    wording: TableWording
    renderer: TableRenderer | TableFigures

    def __init__(
        self, name: str, *, level: str, style: TableStyle, name_pools: Sequence[int] | None, distinct_prompts: bool
    ) -> None:
        super().__init__(name, level=level, distinct_prompts=distinct_prompts)
        check_choice("style", style, get_args(TableStyle))
        self.style: TableStyle = style
        self.wording = latex_wording(name) if style == "latex" else compact_wording()
        if name_pools is not None:
            self.wording = self.wording.with_pools(*_checked_pools(name_pools, self.wording))

    def _renderer(self, image: TableImage, num_rows: int, num_cols: int) -> TableRenderer | TableFigures:
        """Return what draws tables of up to R rows and C columns."""
        if image == MATPLOTLIB:
            return TableFigures()
        pools = {"row_pool": self.wording.row_pool, "col_pool": self.wording.col_pool}
        return TableRenderer(_look(image, self.style), **pools, num_rows=num_rows, num_cols=num_cols)

    def answer(self, instance: TableInstance) -> str:
        """Return the values along the path, in order, with commas between them."""
        return ",".join(map(str, instance.addends))


def _look(image: Mapping[str, Any] | TableLook | None, style: TableStyle) -> TableLook:
    """Read the look, with the defaults of the style.

    Raises:
        ConfigError: if an option is unknown, or a value is out of range.
    """
    if image is None:
        image = {}
    if style == "compact" and isinstance(image, Mapping) and not {"width", "height"} & set(image):
        image = {"cell_width": _COMPACT_CELL_PX, "cell_height": _COMPACT_CELL_PX, **image}
    return TableLook.parse(image)


def _checked_pools(pools: Sequence[int], wording: TableWording) -> tuple[int, int]:
    limits = (len(wording.row_pool), len(wording.col_pool))
    is_pair = isinstance(pools, list | tuple) and [type(size) for size in pools] == [int, int]
    if not is_pair or not all(1 <= size <= limit for size, limit in zip(pools, limits, strict=True)):
        raise ConfigError(
            f"`name_pools` must be two sizes of at most {limits[0]} and {limits[1]}, but is {pools!r} instead."
        )
    return pools[0], pools[1]
