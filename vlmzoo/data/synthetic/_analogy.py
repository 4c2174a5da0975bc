"""What a visual analogy is made of, whatever it is written or drawn like.

Source: S2H, arXiv:2501.02669, section 2 (Visual Analogy).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = [
    "HARD_LABELS",
    "LABELS",
    "SIMPLE_LABELS",
    "VALUES",
    "AnalogyInstance",
    "Label",
    "Line",
    "ObjectKind",
    "Panel",
    "Shape",
    "domains_of",
]

ObjectKind: TypeAlias = Literal["line", "shape"]

VALUES: Mapping[str, tuple[Any, ...]] = {
    "line_type": (
        "falling diagonal line",
        "rising diagonal line",
        "horizontal line",
        "vertical line",
        "diamond lines",
        "circular line",
        "V-shape facing up",
        "V-shape facing left",
        "V-shape facing down",
        "V-shape facing right",
    ),
    "line_color": (0, 90, 135, 189),
    "shape_type": ("circle", "rectangle", "triangle", "pentagon", "hexagon"),
    "shape_color": (0, 90, 135, 189, 255),
    "shape_size": (20, 27, 34, 41),
    "shape_quantity": (1, 2, 3, 4, 5),
    "shape_position": tuple(product(range(3), repeat=2)),
}
"""The values of each domain, in its order: dark to light, small to large, few to many. Colours are grey levels, sizes
pixels of a panel of 160 x 160, positions (row, column) in a grid of 3 x 3."""

_PARTS: Mapping[str, tuple[str, str]] = {domain: (domain.split("_")[0], domain.split("_")[1]) for domain in VALUES}
_RELATIONS = ("XOR", "OR", "AND", "Progression")


class Line(NamedTuple):
    """A figure of lines, as large as its panel."""

    type: str
    color: int


class Shape(NamedTuple):
    """A filled shape in one of the nine places of its panel."""

    type: str
    color: int
    size: int
    position: tuple[int, int]


class Label(NamedTuple):
    """What changes from panel to panel, and how."""

    domain: str
    relation: str

    @property
    def kind(self) -> str:
        """``line`` or ``shape``."""
        return _PARTS[self.domain][0]

    @property
    def attribute(self) -> str:
        """The domain without its kind, e.g. ``color``."""
        return _PARTS[self.domain][1]

    @property
    def words(self) -> str:
        """The domain as texts name it, e.g. ``shape color``."""
        return self.domain.replace("_", " ")


LABELS = tuple(
    [
        Label(domain, relation)
        for domain, relation in product(VALUES, _RELATIONS)
        if domain != "shape_quantity" or relation == "Progression"
    ]
)
"""The 25 combinations; a panel has one quantity, so that sets of quantities make no puzzle."""
HARD_LABELS = (
    Label("shape_size", "XOR"),
    Label("shape_position", "XOR"),
    Label("shape_position", "OR"),
    Label("shape_type", "OR"),
    Label("line_color", "AND"),
    Label("shape_color", "AND"),
    Label("shape_type", "Progression"),
    Label("line_color", "Progression"),
)
SIMPLE_LABELS = tuple([label for label in LABELS if label not in HARD_LABELS])


@cache
def domains_of(kind: str) -> Mapping[str, str]:
    """Return the domains of lines, or of shapes, each with its attribute, in the order in which texts name them."""
    return {domain: attribute for domain, (of, attribute) in _PARTS.items() if of == kind}


@dataclass(frozen=True)
class Panel:
    """One small picture.

    Args:
        objects: lines only, or shapes only, in the order in which they are drawn.
    """

    objects: tuple[Line, ...] | tuple[Shape, ...]

    @property
    def kind(self) -> ObjectKind:
        """``line`` or ``shape``."""
        return "line" if any(isinstance(item, Line) for item in self.objects) else "shape"

    def values(self, attribute: str) -> tuple[Any, ...]:
        """Return the values of an attribute, each once, in the order of the objects that have them first."""
        if attribute == "quantity":
            return (len(self.objects),)
        return tuple(dict.fromkeys([getattr(item, attribute) for item in self.objects]))


@dataclass(frozen=True, kw_only=True)
class AnalogyInstance:
    """Examples of a relation, a query that lacks its third panel, and options to choose from.

    Args:
        examples: rows of three panels.
        example_labels: what changes in each example.
        query: two panels.
        options: panels of which one continues the query as the examples are continued.
        option_labels: how each option continues the query.
        answer_index: of the right option, from 0.
    """

    examples: tuple[tuple[Panel, Panel, Panel], ...]
    example_labels: tuple[Label, ...]
    query: tuple[Panel, Panel]
    options: tuple[Panel, ...]
    option_labels: tuple[Label, ...]
    answer_index: int

    @property
    def query_label(self) -> Label:
        """What changes in the query: the label of the right option."""
        return self.option_labels[self.answer_index]
