"""Table Readout: add the highlighted values of a table, along a path that winds through it."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from vlmzoo.data.synthetic import TASKS, Level
from vlmzoo.data.synthetic._checks import check_choice, checked_range
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._readout_rules import Split, draw_path, level_paths, parse_paths
from vlmzoo.data.synthetic._readout_task import TableImage, TableTask
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.data.synthetic._table_text import TableStyle

__all__ = ["TableReadout"]

_NAME = "table_readout"
_LEVELS: tuple[Level, ...] = ("simple", "hard")
_NUM_ROWS, _NUM_COLS = (7, 12), (7, 10)


@TASKS.register(
    _NAME,
    source="S2H, arXiv:2501.02669, section 2 (Table Readout)",
    tiny={
        "style": "compact",
        "num_rows": 5,
        "num_cols": 5,
        "paths": [{"type": "random"}],
        "image": {"cell_width": 32, "cell_height": 32},
    },
)
class TableReadout(TableTask):
    """Draw tables, and ask for the total along a path from cell to neighbouring cell that never crosses itself.

    Letters: R rows, C columns.

    Names are distinct, values uniform from 0 to 9. Level ``simple`` has paths with few corners, and short waves and
    spirals: 17 cells on average. ``hard`` has long waves and spirals, and walks that are now the one and now the other:
    39 cells. These are the mixtures of the released scripts; the paper states 12 and 35.

    Args:
        level: ``simple`` or ``hard``.
        split: ``train``, or ``eval`` for the questions that the authors ask: each rule of ``simple`` equally often, and
            of ``hard`` the composed walks only.
        paths: the mixture, in place of the level's: a list of ``{type: …, pieces: …, gap: …}``, drawn equally often.
            Types are ``random``, ``sinusoid``, ``spiral`` and ``compositional``; ``PathRule`` says what the rest is.
            ``pieces`` and ``gap`` may be lists, whose members are drawn equally often.
        num_rows: R, or its least and its largest, all equally likely.
        num_cols: C, likewise.
        style: ``latex``, the authors' words, or ``compact``, ours, for small models.
        image: options of ``TableLook``; default: the authors' figure. In style ``compact`` cells have 32 x 32 pixels
            unless the size of a cell or of the figure is given. ``matplotlib`` draws the authors' figure with their
            package, slowly and to the pixel.
        name_pools: draw rows' and columns' names from the first so many only; a small model learns few names sooner.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``. The authors'
            prompt of ``image`` and ``image_via_text`` is the same.

    Raises:
        ConfigError: if an option is unknown, the table needs more names than there are, or is too small for a path.
    """

    def __init__(
        self,
        *,
        level: Level = "simple",
        split: Split = "train",
        paths: Sequence[Mapping[str, Any]] | None = None,
        num_rows: int | Sequence[int] = _NUM_ROWS,
        num_cols: int | Sequence[int] = _NUM_COLS,
        style: TableStyle = "latex",
        image: TableImage = None,
        name_pools: Sequence[int] | None = None,
        distinct_prompts: bool = False,
    ) -> None:
        check_choice("level", level, _LEVELS)
        check_choice("split", split, get_args(Split))
        super().__init__(_NAME, level=level, style=style, name_pools=name_pools, distinct_prompts=distinct_prompts)
        self.split = split
        self.paths = level_paths(level, split) if paths is None else parse_paths(paths)
        self.num_rows = self._checked_count("num_rows", num_rows, len(self.wording.row_pool))
        self.num_cols = self._checked_count("num_cols", num_cols, len(self.wording.col_pool))
        self.renderer = self._renderer(image, self.num_rows[1], self.num_cols[1])

    def instance(self, seed: int, index: int) -> TableInstance:
        """Draw one table and its path: a function of task, level, ``seed`` and ``index`` alone."""
        draws = Draws(self.name, self.level, seed, index)
        size = draws.integer(*self.num_rows), draws.integer(*self.num_cols)
        row_names = draws.distinct(self.wording.row_pool, size[0])
        col_names = draws.distinct(self.wording.col_pool, size[1])
        values = tuple([draws.digits(size[1]) for _ in range(size[0])])
        path = draw_path(draws, self.paths, size)
        return TableInstance(row_names=row_names, col_names=col_names, values=values, path=path)

    def _checked_count(self, name: str, value: int | Sequence[int], num_names: int) -> tuple[int, int]:
        low = max([rule.least_size for group in self.paths for rule in group])
        return checked_range(
            name,
            value,
            low=low,
            high=num_names,
            why=f"its paths (`paths`) need {low}, and there are {num_names} names",
        )
