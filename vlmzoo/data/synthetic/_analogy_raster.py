"""Lines, circles and polygons without anti-aliasing, pixel for pixel as OpenCV 4 draws them.

The authors' panels are OpenCV drawings. Its rules (fixed-point scan conversion, thick lines as a polygon with round
caps, circles as polygons of 5 or 18 degrees) are written anew here, for the calls that the panels need. Points are
(x, y); everything is drawn into a square mask, and what lies outside is cut off.

Source: OpenCV's documentation of its drawing functions, and its behaviour.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mask", "draw_circle", "draw_line", "draw_outline", "fill_circle", "fill_polygon", "fill_rectangle"]

Mask = NDArray[np.bool_]
Point = tuple[int, int]

_SHIFT = 16  # bits behind the point
_ONE, _HALF = 1 << _SHIFT, 1 << (_SHIFT - 1)


def draw_line(mask: Mask, start: Point, end: Point, *, thickness: int) -> None:
    """Draw a line of an even thickness, in pixels, with round ends."""
    _thick_line(mask, _fixed(start), _fixed(end), thickness, has_round_start=True)


def draw_outline(mask: Mask, corners: Sequence[Point], *, thickness: int) -> None:
    """Draw the closed line through ``corners``, of an even thickness."""
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        _thick_line(mask, _fixed(start), _fixed(end), thickness)


def draw_circle(mask: Mask, centre: Point, radius: int, *, thickness: int) -> None:
    """Draw a circle line of an even thickness: a polygon whose corners are 18 degrees apart, or 5 from radius 15 on."""
    step = 18 if radius < 15 else 5  # coarser below 10, which no panel needs
    corners: list[Point] = []
    for angle in range(0, 360 + step, step):
        x = round(centre[0] * _ONE + radius * _ONE * _sine(90 - angle))
        corners.append((x, round(centre[1] * _ONE + radius * _ONE * _sine(angle))))
    for index, (start, end) in enumerate(pairwise(corners)):
        _thick_line(mask, start, end, thickness, has_round_start=index == 0)


def fill_circle(mask: Mask, centre: Point, radius: int) -> None:
    """Fill a circle, by the midpoint rule."""
    error, dx, dy, rising, falling = 0, radius, 0, 1, 2 * radius - 1
    while dx >= dy:
        for sign in (-1, 1):
            _fill_span(mask, centre[1] + sign * dy, centre[0] - dx, centre[0] + dx)
            _fill_span(mask, centre[1] + sign * dx, centre[0] - dy, centre[0] + dy)
        dy += 1
        error += rising
        rising += 2
        if error > 0:
            error -= falling
            falling -= 2
            dx -= 1


def fill_rectangle(mask: Mask, corner: Point, opposite: Point) -> None:
    """Fill a rectangle; both corners belong to it."""
    mask[corner[1] : opposite[1] + 1, corner[0] : opposite[0] + 1] = True


def fill_polygon(mask: Mask, corners: Sequence[Point]) -> None:
    """Fill a convex polygon that lies within the mask, with its edges."""
    crossings: dict[int, list[int]] = {}
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        _draw_edge(mask, start, end)
        (x, top), (end_x, bottom) = sorted((start, end), key=lambda point: point[1])
        if top != bottom:
            slope = _divided((end_x - x) << _SHIFT, bottom - top)
            for row in range(top, bottom):
                crossings.setdefault(row, []).append((x << _SHIFT) + slope * (row - top))
    for row, xs in crossings.items():
        _fill_span(mask, row, _rounded(min(xs)), _rounded(max(xs)))


def _thick_line(mask: Mask, start: Point, end: Point, thickness: int, *, has_round_start: bool = False) -> None:
    """Draw a line between fixed-point points: a rectangle, a disc at its end, and one at its start where asked."""
    dx, dy = (start[0] - end[0]) / _ONE, (end[1] - start[1]) / _ONE
    square = dx * dx + dy * dy
    if square > 0:
        scale = thickness * _HALF / math.sqrt(square)
        x, y = round(dy * scale), round(dx * scale)
        corners = [(start[0] + x, start[1] + y), (start[0] - x, start[1] - y)]
        corners += [(end[0] - x, end[1] - y), (end[0] + x, end[1] + y)]
        _fill_convex(mask, corners)
    radius = (thickness * _HALF + _HALF) >> _SHIFT
    for point in (start, end) if has_round_start else (end,):
        fill_circle(mask, (_rounded(point[0]), _rounded(point[1])), radius)


def _fill_convex(mask: Mask, corners: Sequence[Point]) -> None:
    """Fill a convex polygon of fixed-point corners, row by row between two chains of edges from its top corner."""
    for start, end in zip([corners[-1], *corners[:-1]], corners, strict=True):
        _draw_fixed_edge(mask, start, end)
    rows = [_rounded(y) for _, y in corners]
    top = min(range(len(corners)), key=lambda index: corners[index][1])
    first = range(rows[top], max(rows) + 1)
    left = _chain(corners, rows, top, 1, first)
    right = _chain(corners, rows, top, -1, first)
    for row, x, other in zip(first, left, right, strict=False):  # the shorter chain ends the polygon
        _fill_span(mask, row, _rounded(min(x, other)), _rounded(max(x, other)))


def _chain(corners: Sequence[Point], rows: Sequence[int], top: int, step: int, span: range) -> list[int]:
    """Return where the edges that follow one another from ``top`` cross the rows of ``span``, in fixed point."""
    crossings: list[int] = []
    index = top
    for _ in corners:
        following = (index + step) % len(corners)
        height = rows[following] - (span.start + len(crossings))
        if height > 0:
            (x, _), (end_x, _) = corners[index], corners[following]
            slope = _divided(2 * (end_x - x) + height, 2 * height)
            crossings += [x + slope * offset for offset in range(height)]
        elif crossings and rows[following] < rows[index]:
            break
        index = following
    return crossings


def _draw_fixed_edge(mask: Mask, start: Point, end: Point) -> None:
    """Draw a line one pixel wide between fixed-point points, a pixel for each step along its longer side."""
    clipped = _clipped(start, end, limit=(len(mask) << _SHIFT) - 1)
    if clipped is None:
        return
    start, end = clipped
    along, across = (0, 1) if abs(end[0] - start[0]) > abs(end[1] - start[1]) else (1, 0)
    if end[along] < start[along]:
        start, end = end, start
    length = end[along] - start[along]
    slope = _divided((end[across] - start[across]) << _SHIFT, length | 1)
    steps = np.arange((length >> _SHIFT) + 1)
    points = np.empty((len(steps) + 1, 2), np.int64)
    points[:-1, along] = _rounded(start[along]) + steps
    points[:-1, across] = (start[across] + _HALF + steps * slope) >> _SHIFT
    points[-1] = _rounded(end[0]), _rounded(end[1])
    x, y = points[((points >= 0) & (points < len(mask))).all(axis=1)].T
    mask[y, x] = True


def _draw_edge(mask: Mask, start: Point, end: Point) -> None:
    """Draw a line one pixel wide between pixels, by Bresenham's rule, from left to right."""
    if end[0] < start[0]:
        start, end = end, start
    x, y = start
    dx, dy = end[0] - x, abs(end[1] - y)
    sign = 1 if end[1] >= y else -1
    longer, shorter = max(dx, dy), min(dx, dy)
    error = longer - 2 * shorter
    for _ in range(longer + 1):
        mask[y, x] = True
        turns = error < 0
        error += 2 * longer * turns - 2 * shorter
        x += 1 if dx >= dy else turns
        y += sign if dy > dx else sign * turns


def _clipped(start: Point, end: Point, *, limit: int) -> tuple[Point, Point] | None:
    """Cut a line at the edges of the square from 0 to ``limit``, first in y and then in x; None if nothing is left."""
    ends = [list(start), list(end)]
    for axis in (1, 0):
        if any(_is_beside(ends[0][side], ends[1][side], limit) for side in (0, 1)):
            return None
        for this, other in ((ends[0], ends[1]), (ends[1], ends[0])):
            if not 0 <= this[axis] <= limit:
                bound = 0 if this[axis] < 0 else limit
                rest = 1 - axis
                this[rest] += _divided((bound - this[axis]) * (other[rest] - this[rest]), other[axis] - this[axis])
                this[axis] = bound
    if any(not 0 <= value <= limit for point in ends for value in point):
        return None
    return (ends[0][0], ends[0][1]), (ends[1][0], ends[1][1])


def _is_beside(value: int, other: int, limit: int) -> bool:
    return max(value, other) < 0 or min(value, other) > limit


def _fill_span(mask: Mask, row: int, left: int, right: int) -> None:
    """Fill the pixels from ``left`` to ``right``, both included."""
    if 0 <= row < len(mask) and right >= 0:
        mask[row, max(left, 0) : right + 1] = True


def _sine(degrees: int) -> float:
    """Return the sine to seven digits in single precision: a table in OpenCV."""
    return float(np.float32(round(math.sin(math.radians(degrees)), 7)))


def _fixed(point: Point) -> Point:
    return point[0] << _SHIFT, point[1] << _SHIFT


def _rounded(value: int) -> int:
    return (value + _HALF) >> _SHIFT


def _divided(value: int, by: int) -> int:
    """Divide as C does, towards zero."""
    quotient = abs(value) // abs(by)
    return quotient if (value < 0) == (by < 0) else -quotient
