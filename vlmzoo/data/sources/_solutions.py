"""Solutions of Visual-RFT's data: boxes, one box or a label in answer tags, and the convention of their numbers."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._fields import shown
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.scoring._answers import answer_of
from vlmzoo.scoring.box_lists import detections_in, says_no_objects
from vlmzoo.scoring.grounding import first_corners

__all__ = ["Coordinates", "SolutionKind", "check_options", "check_solution"]

SolutionKind: TypeAlias = Literal["boxes", "corners", "label"]
"""``boxes``: a list with confidences. ``corners``: ``(x1,y1),(x2,y2)``. ``label``: a class."""

Coordinates: TypeAlias = Literal["norm1000", "unit", "pixel"]
"""What numbers of boxes count: thousandths of the image's sides (Qwen2-VL), fractions of them, or pixels."""

Edges: TypeAlias = tuple[float, float, float, float]


def check_options(kind: str, coordinates: str) -> None:
    """Check two options of a source.

    Raises:
        ConfigError: if one of them is unknown.
    """
    for name, value, known in (
        ("solution", kind, get_args(SolutionKind)),
        ("coordinates", coordinates, get_args(Coordinates)),
    ):
        if value not in known:
            raise ConfigError(
                f"`{name}` must be one of {', '.join(known)}, but is {value!r} instead.{nearest_hint(value, known)}"
            )


def check_solution(
    text: str, *, kind: SolutionKind, coordinates: Coordinates, image_size: tuple[int, int] | None
) -> None:
    """Check that a solution is what rewards can compare with.

    Args:
        text: with answer tags or without.
        kind: what it must hold.
        coordinates: what its numbers count.
        image_size: (width, height) in pixels, for ``pixel``.

    Raises:
        RowError: if it cannot be read, or a box is reversed or outside of what its numbers can mean.
    """
    if kind == "label":
        if not answer_of(text):
            raise RowError(f"`solution` must hold a label, but is {shown(text)} instead.", "wrong value")
        return
    if kind == "boxes" and says_no_objects(text):
        return
    for edges in _boxes_of(text, kind):
        _check_edges(edges, coordinates, image_size)


def _boxes_of(text: str, kind: SolutionKind) -> Sequence[Edges]:
    if kind == "corners":
        corners = first_corners(text)
        if corners is None:
            raise RowError(f"`solution` must hold `(x1,y1),(x2,y2)`, but is {shown(text)} instead.", "wrong value")
        return [corners]
    found = detections_in(text, needs_confidence=False)
    if not found:
        raise RowError(
            "`solution` must be a list such as `[{'Position': [x1, y1, x2, y2], 'Confidence': 1}]` or `No Objects`, "
            f"with these very names, but is {shown(text)} instead.",
            "wrong value",
        )
    return [detection.edges for detection in found]


def _check_edges(edges: Edges, coordinates: Coordinates, image_size: tuple[int, int] | None) -> None:
    left, upper, right, lower = edges
    if right <= left or lower <= upper:
        raise RowError(
            f"a box must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, but is {list(edges)} instead; check the order.",
            "wrong value",
        )
    width, height = {"norm1000": (1000, 1000), "unit": (1, 1)}.get(coordinates, image_size or (0, 0))
    if left < 0 or upper < 0 or right > width or lower > height:
        raise RowError(
            f"a box in `{coordinates}` must lie within {width} × {height}, but is {list(edges)} instead; convert it, "
            "or declare what its numbers count with `coordinates`.",
            "wrong value",
        )
    if coordinates != "unit" and max(edges) <= 1:
        raise RowError(
            f"a box in `{coordinates}` of {list(edges)} would be less than a pixel; these look like fractions: declare "
            "`coordinates: unit`, or convert them.",
            "wrong value",
        )
