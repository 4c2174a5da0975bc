"""Grid Navigation: find the way through a grid, collect the objects in it, and avoid the obstacles."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from vlmzoo.data.synthetic import TASKS, Level
from vlmzoo.data.synthetic._checks import check_choice, checked_range
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._figures import MATPLOTLIB, GridFigures
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_image import GridRenderer
from vlmzoo.data.synthetic._grid_look import GridLook
from vlmzoo.data.synthetic._grid_rules import LEVELS, GridRules, draw_grid
from vlmzoo.data.synthetic._grid_text import COT_STYLES, GridWording
from vlmzoo.data.synthetic._task import COMPATS, Compat, DrawnTask
from vlmzoo.errors import ConfigError

__all__ = ["GridInstance", "GridNavigation"]

_NAME = "grid_navigation"
_NUM_LETTERS = 26
_LEAST_SIZE = 3  # of rows and columns: the destination needs a place that is not the first


@TASKS.register(
    _NAME,
    source="S2H, arXiv:2501.02669, section 2 (Grid Navigation)",
    tiny={
        "num_rows": 3,
        "num_cols": 4,
        "num_objects": 1,
        "num_kinds": 1,
        "num_states": [2, 12],
        "image": {"cell_px": 28},
    },
)
class GridNavigation(DrawnTask[GridInstance]):
    """Draw grids, and ask for the moves from the start over all objects to the destination.

    Letters: R rows, C columns.

    A share of 0.35 of the cells holds obstacles. The objects are collected in the order of the nearest next one. The
    solution is a depth-first search towards the next object, and grids are drawn until it has a path, in a number of
    states that belongs to the level.

    Args:
        level: ``simple``: one kind of obstacle, 1 or 2 objects, 10 to 25 states of the search; ``hard``: 3 to 5 kinds,
            2 to 5 objects, 26 to 60 states. Both have 8 to 12 rows and columns.
        num_rows: R, or its least and its largest, all equally likely.
        num_cols: C, likewise.
        num_objects: in place of the level's, likewise.
        num_kinds: of obstacles, likewise.
        num_states: of the search, retraces included; the least and the largest.
        compat: ``s2h``: where the search meets an object whose turn has not come, the chain of thought names the one
            that the search is heading for, as the released data do. Without, it names the object that was met.
        image: options of ``GridLook``; default: the authors' figure. ``matplotlib`` draws it with their package, slowly
            and to the pixel.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``. The authors'
            prompt of ``image`` and ``image_via_text`` is the same.

    Raises:
        ConfigError: if an option is unknown, or no grid of the smallest or of the largest size, among thousands, has a
            search of the length asked for.
    """

    cot_styles = COT_STYLES
    wording: GridWording
    renderer: GridRenderer | GridFigures

    def __init__(
        self,
        *,
        level: Level = "simple",
        num_rows: int | Sequence[int] | None = None,
        num_cols: int | Sequence[int] | None = None,
        num_objects: int | Sequence[int] | None = None,
        num_kinds: int | Sequence[int] | None = None,
        num_states: int | Sequence[int] | None = None,
        compat: Compat = None,
        image: Mapping[str, Any] | GridLook | Literal["matplotlib"] | None = None,
        distinct_prompts: bool = False,
    ) -> None:
        check_choice("level", level, tuple(LEVELS))
        check_choice("compat", compat, COMPATS)
        super().__init__(_NAME, level=level, distinct_prompts=distinct_prompts)
        self.compat = compat
        self.wording = GridWording(names_later_object=compat is None)
        given = {"num_rows": num_rows, "num_cols": num_cols, "num_objects": num_objects, "num_kinds": num_kinds}
        self.rules = self._checked_rules(LEVELS[level], {**given, "num_states": num_states})
        symbols = {**self.wording.objects, **self.wording.obstacles}
        if image == MATPLOTLIB:
            self.renderer = GridFigures(symbols)
        else:
            sizes = {"num_rows": self.rules.num_rows[1], "num_cols": self.rules.num_cols[1]}
            self.renderer = GridRenderer(GridLook.parse(image), symbols=symbols, **sizes)
        for corner in self.rules.corners():
            self._draw(corner, Draws(self.name, self.level))

    def instance(self, seed: int, index: int) -> GridInstance:
        """Draw one grid: a function of task, level, ``seed`` and ``index`` alone."""
        return self._draw(self.rules, Draws(self.name, self.level, seed, index))

    def answer(self, instance: GridInstance) -> str:
        """Return the codes of the grid, a line for each row, and then a line with the moves: all that a walk needs."""
        return instance.codes_text + " ".join(instance.actions)

    def _draw(self, rules: GridRules, draws: Draws) -> GridInstance:
        names = {"object_names": tuple(self.wording.objects), "obstacle_names": tuple(self.wording.obstacles)}
        return draw_grid(draws, rules, **names)

    def _checked_rules(self, rules: GridRules, given: Mapping[str, int | Sequence[int] | None]) -> GridRules:
        """Replace the level's limits by those that are given."""
        letters, names = "letters name them, and a destination needs room beside the start", "there are no more names"
        limits = {
            "num_rows": (_LEAST_SIZE, _NUM_LETTERS, letters),
            "num_cols": (_LEAST_SIZE, _NUM_LETTERS, letters),
            "num_objects": (1, len(self.wording.objects), names),
            "num_kinds": (1, len(self.wording.obstacles), names),
            "num_states": (2, 10_000, "a destination is at least 2 moves away"),
        }
        pairs = {
            name: checked_range(name, value, low=limits[name][0], high=limits[name][1], why=limits[name][2])
            for name, value in given.items()
            if value is not None
        }
        rules = replace(rules, **pairs)
        num_free = rules.num_rows[0] * rules.num_cols[0] - 2
        if rules.num_objects[1] > num_free:
            raise ConfigError(
                f"`num_objects` must be at most {num_free}, the cells of the smallest grid without start and "
                f"destination, but is {list(rules.num_objects)} instead."
            )
        return rules
