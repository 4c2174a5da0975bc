"""Scenes of simple shapes: which objects, where, and how a phrase singles one of them out.

Letters: M objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.geometry import Box, Frame

__all__ = ["ATTRIBUTES", "RELATIONS", "Query", "Scene", "SceneObject", "describe", "draw_query"]

Attribute: TypeAlias = Literal["size", "color", "shape"]
Relation: TypeAlias = Literal["left of", "right of", "above", "below"]
ATTRIBUTES: tuple[Attribute, ...] = ("size", "color", "shape")
"""In the order in which a phrase names them."""
RELATIONS: Mapping[Relation, tuple[int, int]] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
"""The direction (x, y) from the anchor to the target."""

_CLEARLY, _HARDLY = 0.5, 0.1  # of a cell: how far an object is off to one side, or how little
_MAX_TRIES = 400
_NOUN = "object"  # where the shape is not told


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object of a scene.

    Args:
        size: ``small`` or ``large``.
        color: its name.
        shape: its name.
        x_px: of its centre.
        y_px: of its centre.
        side_px: of the square around it.
    """

    size: str
    color: str
    shape: str
    x_px: float
    y_px: float
    side_px: float

    def has(self, wanted: Mapping[Attribute, str]) -> bool:
        """Say whether it has all of these attributes."""
        return all(getattr(self, name) == value for name, value in wanted.items())

    def attributes(self, names: Sequence[Attribute] = ATTRIBUTES) -> dict[Attribute, str]:
        """Return some of its attributes."""
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Query:
    """A phrase that fits one object of a scene and no other.

    Args:
        phrase: e.g. ``small red circle``, ``circle left of the red square``.
        target: number of the object.
        anchor: number of the object that it is told from; None for a phrase of attributes alone.
        relation: to the anchor.
    """

    phrase: str
    target: int
    anchor: int | None = None
    relation: Relation | None = None

    @property
    def is_relational(self) -> bool:
        """Whether the phrase tells of another object."""
        return self.anchor is not None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Objects on a canvas, and what is asked about them.

    Args:
        objects: M, in reading order of their cells.
        queries: at least one.
        size_px: width and height of the canvas.
        cell_px: width and height of the cell that each object has for itself.
        texture: key of the background's noise.
        name: what the picture is called in frames.
    """

    objects: tuple[SceneObject, ...]
    queries: tuple[Query, ...]
    size_px: tuple[int, int]
    cell_px: tuple[float, float]
    texture: int
    name: str

    @property
    def frame(self) -> Frame:
        """The frame of the picture."""
        return Frame.original(self.name, width=self.size_px[0], height=self.size_px[1])

    def box(self, number: int) -> Box:
        """Return the square around an object; the box of its pixels may be smaller, see ``SceneImage.mask``."""
        item = self.objects[number]
        half = item.side_px / 2
        edges = (item.x_px - half, item.y_px - half, item.x_px + half, item.y_px + half)
        return Box.from_xyxy(edges, frame=self.frame)

    def cell(self, number: int) -> tuple[int, int]:
        """Return the row and the column of an object's cell, from 1."""
        item = self.objects[number]
        return int(item.y_px // self.cell_px[1]) + 1, int(item.x_px // self.cell_px[0]) + 1


def describe(wanted: Mapping[Attribute, str]) -> str:
    """Return attributes as a phrase, e.g. ``small red circle``; without a shape it ends in ``object``."""
    words = [wanted[name] for name in ATTRIBUTES if name in wanted]
    return " ".join(words if "shape" in wanted else [*words, _NOUN])


def draw_query(
    objects: Sequence[SceneObject], cell_px: tuple[float, float], draws: Draws, *, is_relational: bool
) -> Query | None:
    """Draw a phrase for one of the objects; None if there is none among hundreds.

    A phrase of attributes names at least two of them. In a relational phrase what is told of the target fits at least
    two objects, of which the relation leaves one; the anchor is told by attributes that only it has together.

    Args:
        objects: of the scene.
        cell_px: width and height of a cell: half of it tells sides apart.
        draws: where chance comes from.
        is_relational: which of the two.
    """
    if not is_relational:
        target = draws.integer(0, len(objects) - 1)
        names = _telling_names(objects, target)
        wanted = objects[target].attributes(names[draws.integer(0, len(names) - 1)])
        return Query(phrase=describe(wanted), target=target)
    for _ in range(_MAX_TRIES):
        query = _relational(objects, cell_px, draws)
        if query is not None:
            return query
    return None


def _telling_names(objects: Sequence[SceneObject], number: int) -> list[tuple[Attribute, ...]]:
    """Return the sets of two or three attributes that only this object has together."""
    return [
        names
        for count in (2, 3)
        for names in combinations(ATTRIBUTES, count)
        if _matching(objects, objects[number].attributes(names)) == [number]
    ]


def _relational(objects: Sequence[SceneObject], cell_px: tuple[float, float], draws: Draws) -> Query | None:
    target, anchor = draws.distinct(range(len(objects)), 2)
    relation = tuple(RELATIONS)[draws.integer(0, len(RELATIONS) - 1)]
    heads: tuple[tuple[Attribute, ...], ...] = (("shape",), ("color", "shape"), ("size", "shape"), ("color",))
    wanted = objects[target].attributes(heads[draws.integer(0, len(heads) - 1)])
    candidates = [number for number in _matching(objects, wanted) if number != anchor]
    if len(candidates) < 2:
        return None
    for number in candidates:
        offset = _offset(objects[number], objects[anchor], relation, cell_px)
        if offset < _CLEARLY if number == target else offset > _HARDLY:
            return None
    names = _telling_names(objects, anchor)
    told = describe(objects[anchor].attributes(names[draws.integer(0, len(names) - 1)]))
    return Query(phrase=f"{describe(wanted)} {relation} the {told}", target=target, anchor=anchor, relation=relation)


def _matching(objects: Sequence[SceneObject], wanted: Mapping[Attribute, str]) -> list[int]:
    return [number for number, item in enumerate(objects) if item.has(wanted)]


def _offset(item: SceneObject, anchor: SceneObject, relation: Relation, cell_px: tuple[float, float]) -> float:
    """Return how far an object lies off the anchor in the relation's direction, in cells."""
    right, down = RELATIONS[relation]
    return right * (item.x_px - anchor.x_px) / cell_px[0] + down * (item.y_px - anchor.y_px) / cell_px[1]
