"""How scenes are drawn: sizes, numbers and shares as a config writes them, and one scene from one stream of chance.

Letters: M objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._scene import ATTRIBUTES, Query, Scene, SceneObject, draw_query
from vlmzoo.errors import ConfigError

__all__ = ["COLORS", "SHAPES", "SceneRules"]

COLORS = {
    "red": (214, 39, 40),
    "green": (44, 150, 44),
    "blue": (31, 90, 200),
    "yellow": (236, 205, 20),
    "purple": (148, 70, 189),
    "orange": (255, 127, 14),
    "cyan": (23, 190, 207),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring", "star", "hexagon")
_SIZES = ("small", "large")
_LEAST_OBJECTS = 5
_GAP_PX = 1.0  # between an object and the edge of its cell


@dataclass(frozen=True, kw_only=True)
class SceneRules:
    """What scenes are like.

    Args:
        num_objects: M, the least and the largest, all equally likely.
        num_colors: how many of ``COLORS`` occur.
        num_shapes: how many of ``SHAPES`` occur.
        canvas_px: width and height.
        grid: columns and rows of the cells in which objects stand, at most one in each.
        small_px: sides of small objects, the least and the largest.
        large_px: sides of large objects, likewise.
        num_queries: phrases of a scene, the least and the largest.
        relational: share of phrases that tell of another object.

    Raises:
        ConfigError: if the objects do not fit, or a number is out of range.
    """

    num_objects: tuple[int, int] = (5, 7)
    num_colors: int = 6
    num_shapes: int = 6
    canvas_px: tuple[int, int] = (96, 96)
    grid: tuple[int, int] = (3, 3)
    small_px: tuple[int, int] = (13, 16)
    large_px: tuple[int, int] = (23, 27)
    num_queries: tuple[int, int] = (1, 1)
    relational: float = 0.4

    def __post_init__(self) -> None:
        """Check that scenes can be drawn."""
        for name, pool in (("num_colors", COLORS), ("num_shapes", SHAPES)):
            if not 2 <= getattr(self, name) <= len(pool):
                raise ConfigError(f"`{name}` must be from 2 to {len(pool)}, but is {getattr(self, name)} instead.")
        for name in ("num_objects", "small_px", "large_px", "num_queries"):
            low, high = getattr(self, name)
            least = _LEAST_OBJECTS if name == "num_objects" else 4 if name.endswith("px") else 1
            if not least <= low <= high:
                raise ConfigError(
                    f"`{name}` must be two growing numbers from {least} on, but is {[low, high]} instead."
                )
        if not 0 <= self.relational <= 1:
            raise ConfigError(f"`relational` must be a share from 0 to 1, but is {self.relational} instead.")
        if self.num_objects[1] > self.grid[0] * self.grid[1]:
            raise ConfigError(
                f"`num_objects` must be at most the {self.grid[0] * self.grid[1]} cells of `grid`, but may be "
                f"{self.num_objects[1]} instead; ask for a finer grid."
            )
        if self.small_px[1] >= self.large_px[0]:
            raise ConfigError(
                f"`small_px` must stay below `large_px`, but they are {self.small_px} and {self.large_px} instead."
            )
        room = min(self.cell_px) - 2 * _GAP_PX
        if self.large_px[1] > room:
            raise ConfigError(
                f"`large_px` must be at most {room:.0f}, what a cell has room for, but may be {self.large_px[1]} "
                "instead; choose a larger canvas or a coarser grid."
            )

    @property
    def cell_px(self) -> tuple[float, float]:
        """Width and height of a cell."""
        return self.canvas_px[0] / self.grid[0], self.canvas_px[1] / self.grid[1]

    def draw(self, draws: Draws, *, name: str) -> Scene:
        """Draw a scene.

        Args:
            draws: where chance comes from.
            name: what the picture is called in frames.
        """
        while True:
            objects = self._objects(draws)
            queries = self._queries(objects, draws)
            if queries is not None:
                return Scene(
                    objects=objects,
                    queries=queries,
                    size_px=self.canvas_px,
                    cell_px=self.cell_px,
                    texture=draws.integer(0, 2**31 - 1),
                    name=name,
                )

    def _queries(self, objects: Sequence[SceneObject], draws: Draws) -> tuple[Query, ...] | None:
        """Return phrases, or None if the objects stand so that a relational one is not to be had."""
        queries: list[Query] = []
        for _ in range(draws.integer(*self.num_queries)):
            is_relational = draws.fraction() < self.relational
            query = draw_query(objects, self.cell_px, draws, is_relational=is_relational)
            if query is None:
                return None
            queries.append(query)
        return tuple(queries)

    def _objects(self, draws: Draws) -> tuple[SceneObject, ...]:
        """Return M objects in reading order; each value of an attribute is had by two objects at least."""
        number = draws.integer(*self.num_objects)
        pools = {"size": _SIZES, "color": tuple(COLORS)[: self.num_colors], "shape": SHAPES[: self.num_shapes]}
        while True:
            looks = list(zip(*(_shared(pools[name], number, draws) for name in ATTRIBUTES), strict=True))
            if len(set(looks)) == number:
                break
        cells = sorted(draws.distinct(range(self.grid[0] * self.grid[1]), number))
        return tuple(self._placed(look, cell, draws) for look, cell in zip(looks, cells, strict=True))

    def _placed(self, look: Sequence[str], cell: int, draws: Draws) -> SceneObject:
        size, color, shape = look
        side = draws.integer(*(self.small_px if size == "small" else self.large_px))
        row, column = divmod(cell, self.grid[0])
        x, y = (
            (place + 0.5) * length + (2 * draws.fraction() - 1) * (length - side - 2 * _GAP_PX) / 2
            for place, length in zip((column, row), self.cell_px, strict=True)
        )
        return SceneObject(size=size, color=color, shape=shape, x_px=x, y_px=y, side_px=float(side))


def _shared(pool: Sequence[str], number: int, draws: Draws) -> list[str]:
    """Return a value for each of M objects, none of which occurs only once."""
    chosen = draws.distinct(pool, draws.integer(2, min(len(pool), number // 2)))
    rest = [chosen[draws.integer(0, len(chosen) - 1)] for _ in range(number - 2 * len(chosen))]
    return list(draws.distinct([*chosen, *chosen, *rest], number))
