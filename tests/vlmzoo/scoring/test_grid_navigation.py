import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring import SCORES
from vlmzoo.scoring.grid_navigation import GridMap, stated_moves, walk

#   a b c d
# a . * . S
# b . X X .      * and + are objects, X obstacles
# c D . + .
GRID = ":0:3:0:1\n:0:-1:-2:0\n:2:0:4:0\n"
EXPECTED = "left left right right down down left left left"
REFERENCE = GRID + EXPECTED
NAMES = [
    "grid_exact_match",
    "grid_partial_score",
    "grid_objects_fraction",
    "grid_obstacles_hit",
    "grid_source_dest_score",
]
MOVES = st.lists(st.sampled_from(["up", "down", "left", "right"]), max_size=20)


def scores(completion, reference=REFERENCE, **options):
    """Exact match, destination reached, share of objects, obstacles hit."""
    return tuple(SCORES.build({"type": name, **options})(completion, reference) for name in NAMES[:4])


def source_dest(completion):
    return SCORES.build({"type": "grid_source_dest_score"})(completion, REFERENCE)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        (EXPECTED, (1, 1, 1, 0)),
        ("down down left right up up left left left down down", (1, 1, 1, 0)),  # another way, another order
        (EXPECTED + " right up up", (1, 1, 1, 0)),  # what follows the arrival is not looked at
        ("left left left down down", (0, 1, 0.5, 0)),  # an object is missing
        ("down down left left left", (0, 1, 0.5, 0)),
        ("left down down left left", (0, 1, 0.5, 1)),  # through an obstacle
        ("left left down right left left down", (0, 1, 0.5, 3)),  # each entry counts
        ("left left", (0, 0, 0.5, 0)),  # does not arrive
        ("right", (0, 0, 0, 0)),  # leaves the grid
        ("right left left left left down down", (0, 0, 0, 0)),
        ("down down down", (0, 0, 0, 0)),
    ],
)
def test_moves_are_walked(moves, expected):
    assert scores(f"We follow ...\nAnswer: {moves}") == expected


@given(MOVES, MOVES)
def test_exact_implies_all_else(moves, others):
    exact, partial, fraction, hit = scores("Answer: " + " ".join([*moves, *others]))
    assert exact <= partial
    assert not exact or (fraction, hit) == (1.0, 0.0)
    assert 0 <= fraction <= 1


@given(MOVES)
def test_a_walk_is_the_sum_of_its_moves(moves):
    """An oracle: follow the moves in the plane, and look at every cell afterwards."""
    grid, place, places = GridMap.parse(REFERENCE), 3j, [3j]
    for move in moves:
        place += {"up": -1, "down": 1, "left": -1j, "right": 1j}[move]
        places.append(place)
    codes = {complex(r, c): code for r, row in enumerate(grid.cells) for c, code in enumerate(row)}
    ends = [step for step, place in enumerate(places) if codes.get(place, 2) == 2]
    seen = [codes[place] for place in places[: ends[0] if ends else None]]
    done = walk(grid, moves)
    assert done.has_arrived == bool(ends and places[ends[0]] in codes)
    assert done.obstacles_hit == sum(code < 0 for code in seen)
    assert done.objects_met == len({code for code in seen if code > 2})


@pytest.mark.parametrize("moves", ["up", "left left left left"])
def test_nobody_walks_outside(moves):
    back = {"up": "down", "left left left left": "right"}[moves]
    around = f"Answer: {moves} {back} {EXPECTED if moves == 'up' else 'down down'}"
    assert scores(around)[1] == 0.0
    assert scores(around, compat="s2h")[1] == 1.0


def test_the_authors_outside_has_the_obstacles_of_the_opposite_edge():
    grid = ":1:3\n:2:-1\n"
    assert scores("Answer: up right down left down", grid + "right left down") == (0, 0, 0, 0)
    assert scores("Answer: up right down left down", grid + "right left down", compat="s2h") == (0, 1, 1, 1)
    assert scores("Answer: up up down down down", grid + "right left down", compat="s2h")[1] == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "",
        EXPECTED,  # no answer
        "Answer: ",
        f"answer: {EXPECTED}",
        f"Answer:{EXPECTED}",
        f"Answer: {EXPECTED}.",
        f"Answer: {EXPECTED} left-ish",
        f"Answer: {EXPECTED.replace(' ', ', ')}",
        f"Answer: {EXPECTED.replace(' ', '  ')}",
        f"Answer: {EXPECTED}\nSo the answer is 9 moves.",
        f"Answer: {EXPECTED}\nAnswer: No path exists",  # the last one counts
        "Answer: No path exists",
    ],
)
def test_what_does_not_state_moves_scores_zero(completion):
    assert scores(completion) == (0, 0, 0, 0)


def test_the_last_answer_counts():
    assert scores(f"Answer: up\nNo. Answer: {EXPECTED} \n")[0] == 1.0
    assert stated_moves("Answer: up Answer: down") == ("down",)


def test_no_path_is_an_answer_where_there_is_none():
    blocked = ":1:-1\n:-1:2\n"
    assert scores("Answer: No path exists", blocked)[:2] == (1, 1)
    assert scores("Answer: right down", blocked)[:2] == (0, 1)
    assert scores("", blocked)[:2] == (0, 0)


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("Source:( a, d) Destination:( c, a)\nCollect objects:", 1),
        ("Source:( b, d) Destination:( c, a)\nSource:( a, d) Destination:( c, a)", 1),
        ("Source:( a, d) Destination:( c, a)\nSource:( b, d) Destination:( c, a)", 0),
        ("Source:( d, a) Destination:( c, a)", 0),
        ("Source:( a, d) Destination:( c, b)", 0),
        ("Source:( a, d)", 0),
        ("Source:( aa, d) Destination:( c, a)", 0),
        ("", 0),
    ],
)
def test_source_and_destination_are_read_from_the_chain(completion, expected):
    assert source_dest(completion) == expected


@given(st.text(alphabet="Answer: Source(ab, )upleft\n", max_size=200))
def test_no_completion_raises(completion):
    for name in NAMES:
        assert SCORES.build({"type": name})(completion, REFERENCE) >= 0.0


@pytest.mark.parametrize(
    "reference", ["", EXPECTED, ":0:1\n:2", ":0:1:2\n:0:0", ":0:x\n:1:2", ":0:3\n:4:2", GRID + "north"]
)
def test_references_that_are_no_grid_are_refused(reference):
    with pytest.raises(DataError, match="A reference must"):
        scores("Answer: up", reference)


def test_unknown_modes_are_refused():
    with pytest.raises(ConfigError, match="`compat` must be `s2h`"):
        SCORES.build({"type": "grid_exact_match", "compat": "s2"})


@pytest.mark.parametrize("piece", ["Answer: ", "up ", "Source:", "Source:( a, d)", " ", "\n", "Answer: up "])
def test_long_completions_take_linear_time(piece):
    completion = "Answer: " + piece * (1_000_000 // len(piece))
    start_s = time.perf_counter()
    for name in NAMES:
        SCORES.build({"type": name})(completion, REFERENCE)
    assert time.perf_counter() - start_s < 10  # a quadratic reader takes hours
