import re
from collections import Counter, deque
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_rules import _draw_flat
from vlmzoo.data.synthetic._grid_search import MOVES, RETRACE, FlatGrid, explore, has_path
from vlmzoo.data.synthetic.grid_navigation import GridNavigation
from vlmzoo.errors import DataError

SEEDS, INDICES = st.integers(0, 2**40), st.integers(0, 10**9)
LEVELS = {level: GridNavigation(level=level) for level in ("simple", "hard")}


@st.composite
def grids(draw):
    """Any small grid, most of them without a path."""
    num_rows, num_cols, num_objects = draw(st.integers(2, 4)), draw(st.integers(2, 4)), draw(st.integers(0, 2))
    num_cells = num_rows * num_cols
    codes = draw(st.lists(st.sampled_from([0, 0, -1]), min_size=num_cells, max_size=num_cells))
    places = draw(st.permutations(range(num_cells)))[: num_objects + 2]
    for code, place in enumerate(places, start=1):
        codes[place] = code
    cells = tuple(tuple(codes[num_cols * row : num_cols * (row + 1)]) for row in range(num_rows))
    return GridInstance(cells=cells, objects=("moon", "star")[:num_objects], obstacles=("dot",))


def neighbours(instance, cell):
    for action, (down, right) in MOVES.items():
        row, col = cell[0] + down, cell[1] + right
        if 0 <= row < instance.num_rows and 0 <= col < instance.num_cols:
            yield action, (row, col), instance.cells[row][col]


def can_be_solved(instance):
    """An oracle: on each leg the goal is flooded from the last one, around obstacles and what comes later."""
    goals = [*enumerate(instance.stops, start=3), (2, instance.destination)]
    here = instance.start
    for number, (_, goal) in enumerate(goals):
        later = {other for other, _ in goals[number + 1 :]}
        seen, queue = {here}, deque([here])
        while queue:
            for _, cell, found in neighbours(instance, queue.popleft()):
                if found >= 0 and found not in later and cell not in seen:
                    seen.add(cell)
                    queue.append(cell)
        if goal not in seen:
            return False
        here = goal
    return True


def naive_search(instance, cell, collected, visited, trace):
    """The search once more, by recursion: ``trace`` receives (cell, action, verdicts of the neighbours before it)."""
    goals = [*instance.stops, instance.destination]
    if cell == instance.destination and collected == len(instance.objects):
        return True
    visited.add(cell)
    considered = []

    def distance(action):
        rows, cols = (goals[heading][axis] - cell[axis] - MOVES[action][axis] for axis in (0, 1))
        return abs(rows) + abs(cols), rows**2 + cols**2

    heading = collected
    codes = {action: (there, code) for action, there, code in neighbours(instance, cell)}
    for action in sorted(MOVES, key=distance):
        there, code = codes.get(action, (None, 0))
        later = code > collected + 3 or (code == 2 and collected < len(instance.objects))
        if there is None or there in visited or code < 0 or later:
            considered.append("outside" if there is None else "visited" if there in visited else "no")
            continue
        if code == collected + 3:
            collected, visited = collected + 1, set()
        trace.append((cell, action, tuple(considered)))
        if naive_search(instance, there, collected, visited, trace):
            return True
        considered.append("visited")
    trace.append((cell, RETRACE, tuple(considered)))
    return False


@given(grids())
def test_the_search_is_what_its_rule_says(instance):
    expected, names = [], {"blocked": "visited", "closed": "no", "later_object": "no", "destination": "no"}
    is_solved = naive_search(instance, instance.start, 0, set(), expected)
    found = [
        ((s.row, s.col), s.action, tuple(names.get(n.verdict, n.verdict) for n in s.considered)) for s in instance.trace
    ]
    assert found == expected
    assert bool(instance.actions) == is_solved == can_be_solved(instance)


@given(grids(), st.integers(0, 30))
def test_a_limit_only_gives_up(instance, limit):
    flat = FlatGrid.of(instance.cells)
    whole = explore(flat)
    assert explore(flat, max_states=limit) == (whole if len(whole) <= limit else None)
    assert has_path(whole) == bool(instance.actions)


@given(SEEDS, INDICES)
def test_objects_are_numbered_from_the_nearest_to_the_next_nearest(seed, index):
    instance = LEVELS["hard"].instance(seed, index)
    rest, here = list(instance.stops), instance.start
    for stop in instance.stops:
        distances = [abs(here[0] - row) + abs(here[1] - col) for row, col in rest]
        assert abs(here[0] - stop[0]) + abs(here[1] - stop[1]) == min(distances)
        rest.remove(stop)
        here = stop


@pytest.mark.parametrize(
    ("level", "objects", "kinds", "states", "mean_states", "num_retraces"),
    [("simple", (1, 2), (1, 1), (10, 25), 17, 0.4), ("hard", (2, 5), (3, 5), (26, 60), 40, 3.4)],
)
def test_levels_have_the_papers_sizes_and_the_released_statistics(
    level, objects, kinds, states, mean_states, num_retraces
):
    instances = [LEVELS[level].instance(0, index) for index in range(1500)]
    assert {(i.num_rows, i.num_cols) for i in instances} == {(r, c) for r in range(8, 13) for c in range(8, 13)}
    for found, (low, high) in (
        ([len(i.objects) for i in instances], objects),
        ([len(i.obstacles) for i in instances], kinds),
    ):
        counts = Counter(found)
        assert sorted(counts) == list(range(low, high + 1))
        assert min(counts.values()) > 0.8 * len(instances) / len(counts)
    lengths = [len(i.trace) for i in instances]
    assert (min(lengths), max(lengths)) == states
    assert abs(mean(lengths) - mean_states) < 1.5
    retraces = [sum(state.action == RETRACE for state in i.trace) for i in instances]
    assert abs(mean(retraces) - num_retraces) < 0.25 * num_retraces


@pytest.mark.parametrize(
    ("objects", "states", "solvable", "kept"), [((1, 2), (10, 25), 0.58, 0.30), ((2, 5), (26, 60), 0.47, 0.23)]
)
def test_as_many_drawings_are_kept_as_of_the_released_generator(objects, states, solvable, kept):
    draws, num, lengths = Draws("kept", objects[0]), 2500, []
    for _ in range(num):
        size = draws.integer(8, 12), draws.integer(8, 12)
        trace = explore(_draw_flat(draws, *size, draws.integer(*objects), max_moves=10**6))
        lengths += [len(trace)] if has_path(trace) else []
    assert abs(len(lengths) / num - solvable) < 0.05
    assert abs(sum(states[0] <= length <= states[1] for length in lengths) / num - kept) < 0.04


@given(SEEDS)
def test_a_third_of_the_rectangle_and_about_a_third_around_it_are_obstacles(seed):
    grid = _draw_flat(Draws("obstacles", seed), 9, 11, 2, max_moves=10**6)
    codes = np.array(grid.codes).reshape(11, -1)[1:-1, 1:12]
    (top, bottom), (left, right) = (sorted(int(i) for i in where) for where in np.nonzero((codes == 1) | (codes == 2)))
    assert top < bottom
    assert left < right
    inside = codes[top : bottom + 1, left : right + 1]
    expected = int(0.35 * (inside.size - 2))
    assert expected - 2 <= (inside == -1).sum() <= expected  # two objects may stand on obstacles
    row, col = np.argwhere(codes == 2)[0]
    assert row > 0
    assert col > 0


def test_kinds_of_obstacles_are_mixed_cell_by_cell():
    found = Counter()
    for index in range(200):
        instance = LEVELS["hard"].instance(0, index)
        assert len(set(instance.obstacles)) == len(instance.obstacles)
        if len(instance.obstacles) == 3:
            found.update(code for row in instance.cells for code in row if code < 0)
    assert sorted(found) == [-3, -2, -1]
    assert max(found.values()) < 1.2 * min(found.values())


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (((1, 2), (0,)), "rows of one length"),
        ((), "rows of one length"),
        (((1, 2, *[0] * 25),), "at most 26 rows and columns"),
        (((1, 0), (0, 0)), "each of the codes [1, 2] once"),
        (((1, 2), (1, 0)), "each of the codes"),
        (((1, 2), (3, 0)), "each of the codes"),
        (((1, 2), (-2, 0)), "no code below -1"),
    ],
)
def test_grids_that_make_no_sense_are_refused(cells, words):
    with pytest.raises(DataError, match=re.escape(words)):
        GridInstance(cells=cells, objects=(), obstacles=("dot",))
