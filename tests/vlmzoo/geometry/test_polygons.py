from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.geometry.conftest import make_frame, make_mask, masks
from vlmzoo.errors import DataError, FrameError
from vlmzoo.geometry import Mask, mask_to_polygons, polygons_to_mask

FRAME = make_frame(9, 7)
quarters = st.integers(-8, 48).map(lambda count: count / 4)
rings = st.lists(st.tuples(quarters, quarters), min_size=3, max_size=6)
RULES = ("even_odd", "nonzero")


def winding_number(x, y, ring):
    """How often a ring runs around a point, in exact arithmetic, by crossings of the ray to the left."""
    total = 0
    for (x0, y0), (x1, y1) in pairwise([*ring, ring[0]]):
        if (y0 <= y) == (y1 <= y):
            continue
        crossing = Fraction(x0) + (Fraction(y) - Fraction(y0)) * (Fraction(x1) - Fraction(x0)) / Fraction(y1 - y0)
        total += (crossing <= x) * (1 if y1 > y0 else -1)
    return total


def signed_area(ring):
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


@given(st.lists(rings, max_size=3), st.sampled_from(RULES))
def test_a_pixel_belongs_where_its_centre_is_wound_around(many, rule):
    array = polygons_to_mask(many, frame=FRAME, rule=rule).array
    for row in range(FRAME.height):
        for column in range(FRAME.width):
            total = sum(winding_number(column + 0.5, row + 0.5, ring) for ring in many)
            assert array[row, column] == (total % 2 == 1 if rule == "even_odd" else total != 0)


@given(masks(max_side=12), st.sampled_from(RULES))
def test_the_borders_of_a_mask_give_it_back(mask, rule):
    assert polygons_to_mask(mask_to_polygons(mask), frame=mask.frame, rule=rule) == mask


@given(masks())
def test_borders_turn_at_every_corner_and_enclose_the_area(mask):
    found = mask_to_polygons(mask)
    for ring in found:
        is_upright = [(a == b).tolist() for a, b in pairwise([*ring, ring[0]])]
        assert all(sorted(same) == [False, True] for same in is_upright)  # along one axis, and not of no length
        assert all(one != other for one, other in pairwise([*is_upright, is_upright[0]]))
    assert sum(signed_area(ring) for ring in found) == mask.area


@pytest.mark.parametrize(
    ("rows", "areas"),
    [
        (["..", ".."], []),
        (["##", "##"], [4]),
        (["###", "#.#", "###"], [9, -1]),
        (["#.", ".#"], [1, 1]),
        ([".#", "#."], [1, 1]),
        (["#####", "#...#", "#.#.#", "#...#", "#####"], [25, -9, 1]),
        (["####", "#.##", "##.#", "####"], [16, -2]),
        (["##.", "#.#", "###"], [7]),
    ],
)
def test_borders_are_outer_rings_clockwise_and_holes_the_other_way(rows, areas):
    assert sorted(signed_area(ring) for ring in mask_to_polygons(make_mask(rows))) == sorted(areas)


def test_a_rectangle_has_four_corners_clockwise_from_its_upper_left():
    rows = ["....", ".##.", ".##.", ".##."]
    (ring,) = mask_to_polygons(make_mask(rows))
    assert ring.tolist() == [[1, 1], [3, 1], [3, 4], [1, 4]]


@given(quarters, quarters, quarters, quarters)
def test_two_parts_with_a_common_edge_share_no_pixel_and_leave_none_out(top, bottom, left, right):
    # a rectangle larger than the frame, cut by a straight line from its upper to its lower edge
    upper, lower = (top, -3.0), (bottom, 20.0)
    one = polygons_to_mask([[(-9, -3), upper, lower, (-9, 20)]], frame=FRAME)
    other = polygons_to_mask([[upper, (30, -3), (30, 20), lower]], frame=FRAME)
    assert (one & other).area == 0
    assert (one | other).area == FRAME.width * FRAME.height
    # and by a line from its left to its right edge
    one = polygons_to_mask([[(-9, -30), (30, -30), (30, right), (-9, left)]], frame=FRAME)
    other = polygons_to_mask([[(-9, left), (30, right), (30, 70), (-9, 70)]], frame=FRAME)
    assert (one & other).area == 0
    assert (one | other).area == FRAME.width * FRAME.height


@given(rings, st.integers(0, 5), st.sampled_from(RULES))
def test_neither_direction_nor_first_corner_of_a_ring_matters(ring, start, rule):
    expected = polygons_to_mask([ring], frame=FRAME, rule=rule)
    assert polygons_to_mask([ring[::-1]], frame=FRAME, rule=rule) == expected
    assert polygons_to_mask([np.roll(ring, start, axis=0)], frame=FRAME, rule=rule) == expected


@given(rings, rings)
def test_even_odd_is_the_symmetric_difference_of_its_rings(one, other):
    first, second = (polygons_to_mask([ring], frame=FRAME) for ring in (one, other))
    assert np.array_equal(polygons_to_mask([one, other], frame=FRAME).array, first.array ^ second.array)


def test_parts_of_coco_count_as_in_the_format():
    frame = make_frame(10, 8)
    parts = [np.reshape(flat, (-1, 2)) for flat in ([2, 1, 6, 1, 6, 4, 2, 4], [4, 2, 8, 2, 8, 6, 4, 6])]
    one, other = (polygons_to_mask([part], frame=frame) for part in parts)
    assert one.array[1:4, 2:6].all()
    assert (one.area, other.area, (one | other).area, (one & other).area) == (12, 16, 24, 4)
    assert polygons_to_mask(parts, frame=frame, rule="nonzero") == one | other


def test_a_ring_within_a_ring_is_a_hole_by_the_even_odd_rule_and_by_its_direction_otherwise():
    outer, inner = [(0, 0), (6, 0), (6, 6), (0, 6)], [(2, 2), (4, 2), (4, 4), (2, 4)]
    assert polygons_to_mask([outer, inner], frame=FRAME).area == 32
    assert polygons_to_mask([outer, inner], frame=FRAME, rule="nonzero").area == 36
    assert polygons_to_mask([outer, inner[::-1]], frame=FRAME, rule="nonzero").area == 32


def test_no_rings_and_rings_outside_give_an_empty_mask():
    empty = Mask(np.zeros((7, 9), dtype=bool), frame=FRAME)
    assert polygons_to_mask([], frame=FRAME) == empty
    assert polygons_to_mask([[(20, 20), (30, 20), (30, 30)], [(-9, -9), (-1, -9), (-1, -1)]], frame=FRAME) == empty
    assert mask_to_polygons(empty) == []


@pytest.mark.parametrize(
    ("ring", "message"),
    [
        ([(0, 0), (1, 1)], r"Ring 1 must have the shape \(corners, 2\) .* but has \(2, 2\)"),
        ([0, 0, 1, 1, 2, 0], r"but has \(6,\) instead; a flat list .* `numpy.reshape"),
        ([(0, 0), (1, float("nan")), (2, 0)], "Ring 1 must be finite"),
        ([(0, 0), (1,), (2, 0)], "Ring 1 must be a list of corners x, y, but is"),
    ],
)
def test_rings_that_are_none_are_refused(ring, message):
    with pytest.raises(DataError, match=message):
        polygons_to_mask([[(0, 0), (1, 1), (2, 0)], ring], frame=FRAME)


def test_an_unknown_rule_is_refused():
    with pytest.raises(DataError, match="`rule` must be `even_odd` or `nonzero`, but is 'union'"):
        polygons_to_mask([], frame=FRAME, rule="union")


def test_fractions_have_no_pixels_to_fill():
    with pytest.raises(FrameError, match="A mask needs a frame of pixels"):
        polygons_to_mask([], frame=FRAME.norm1000)
