import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic._analogy import VALUES, AnalogyInstance, Label, Line, Panel, Shape
from vlmzoo.data.synthetic._analogy_figures import PANEL_PX, paint_panel
from vlmzoo.data.synthetic._analogy_image import AnalogyLook, AnalogyRenderer
from vlmzoo.data.synthetic._analogy_raster import draw_line, draw_outline, fill_circle, fill_polygon
from vlmzoo.data.synthetic.visual_analogy import VisualAnalogy

# CRC-32 of panels of 160 x 160 with one object, drawn with OpenCV 4.10.0: a line in grey 90; a shape in grey 135 at the
# right of the middle row, with sizes 20, 27, 34, 41.
OPENCV_LINES = {
    "falling diagonal line": 3019127708,
    "rising diagonal line": 1476696326,
    "horizontal line": 3604334178,
    "vertical line": 497561693,
    "diamond lines": 3651951385,
    "circular line": 183629547,
    "V-shape facing up": 4062166332,
    "V-shape facing left": 423143464,
    "V-shape facing down": 2136398073,
    "V-shape facing right": 1529637606,
}
OPENCV_SHAPES = {
    "circle": (3857567055, 1608285063, 3358255654, 1940992924),
    "rectangle": (3852500178, 281085703, 1945050732, 2846169651),
    "triangle": (2079597000, 1103274324, 2918870414, 504112573),
    "pentagon": (2419380039, 2717043051, 33926096, 897187157),
    "hexagon": (994492268, 2359122667, 658148313, 791679714),
}
PLACES = st.integers(0, 31)


def paint(*objects):
    canvas = np.empty((PANEL_PX, PANEL_PX), np.uint8)
    paint_panel(Panel(objects), canvas)
    return canvas


def make_mask(draw, *arguments, **options):
    mask = np.zeros((32, 32), np.bool_)
    draw(mask, *arguments, **options)
    return mask


def make_puzzle(panel):
    label = Label("shape_type", "OR")
    return AnalogyInstance(
        examples=((panel,) * 3,) * 2,
        example_labels=(label,) * 2,
        query=(panel,) * 2,
        options=(panel,) * 4,
        option_labels=(label,) * 4,
        answer_index=0,
    )


@pytest.mark.parametrize("figure", VALUES["line_type"])
def test_lines_are_drawn_as_opencv_draws_them(figure):
    assert zlib.crc32(paint(Line(figure, 90)).tobytes()) == OPENCV_LINES[figure]


@pytest.mark.parametrize("figure", VALUES["shape_type"])
def test_shapes_are_drawn_as_opencv_draws_them(figure):
    found = [zlib.crc32(paint(Shape(figure, 135, size, (1, 2))).tobytes()) for size in VALUES["shape_size"]]
    assert tuple(found) == OPENCV_SHAPES[figure]


@pytest.mark.parametrize("figure", VALUES["shape_type"])
@pytest.mark.parametrize("size", VALUES["shape_size"])
def test_shapes_look_the_same_in_every_place(figure, size):
    middle = paint(Shape(figure, 189, size, (1, 1)))
    for row, col in VALUES["shape_position"]:
        moved = np.roll(middle, (48 * (row - 1), 48 * (col - 1)), axis=(0, 1))
        assert np.array_equal(paint(Shape(figure, 189, size, (row, col))), moved)


@pytest.mark.parametrize("color", VALUES["shape_color"])
def test_shapes_have_their_colour_inside_a_black_outline(color):
    panel = paint(Shape("hexagon", color, 34, (0, 0)))
    assert panel[32, 32] == color
    assert set(np.unique(panel)) == {0, color, 255}


def test_later_objects_cover_earlier_ones():
    one, two = Line("vertical line", 90), Line("horizontal line", 189)
    assert paint(one, two)[80, 80] == 189
    assert paint(two, one)[80, 80] == 90


@given(PLACES, PLACES, PLACES, PLACES)
def test_a_line_reaches_both_ends_and_nothing_beyond(x, y, end_x, end_y):
    mask = make_mask(draw_line, (x, y), (end_x, end_y), thickness=4)
    assert mask[y, x]
    assert mask[end_y, end_x]
    rows, cols = np.nonzero(mask)
    along, across = np.array([end_x - x, end_y - y]), np.array([cols - x, rows - y]).T
    share = np.clip(across @ along / max(1, along @ along), 0, 1)
    assert (
        np.linalg.norm(across - share[:, None] * along, axis=1).max() < 3.5
    )  # half its thickness and its caps' corners


@given(st.integers(2, 14))
def test_a_disc_has_the_symmetries_of_a_square(radius):
    mask = make_mask(fill_circle, (15, 15), radius)[:31, :31]
    for other in (mask.T, mask[::-1], mask[:, ::-1]):
        assert np.array_equal(mask, other)
    assert abs(mask.sum() - np.pi * radius**2) < 8 * radius


@given(st.lists(st.tuples(PLACES, PLACES), min_size=3, max_size=3, unique=True))
def test_a_polygon_lies_within_its_outline(corners):
    filled = make_mask(fill_polygon, corners)
    outline = make_mask(draw_outline, corners, thickness=2)
    assert all(filled[y, x] for x, y in corners)
    (x0, y0), (x1, y1), (x2, y2) = corners
    area = abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) / 2
    assert area - 1 <= filled.sum() <= area + outline.sum()


def test_the_figure_has_the_layout_of_the_paper():
    pixels = np.asarray(AnalogyRenderer(AnalogyLook()).draw(make_puzzle(paint_black())))
    assert pixels.shape == (900, 800, 3)
    assert [int(pixels[y, x, 0]) for x, y in [(202, 98), (600, 98), (202, 300), (400, 500), (100, 800)]] == [0] * 5
    assert (pixels[600:700] == 255).all()
    assert (pixels[:590, :100] == 255).all()
    assert (pixels[420:450, 520:680] == 255).all()  # beside the question mark


def paint_black():
    return Panel((Shape("circle", 0, 41, (1, 1)),))


@pytest.mark.parametrize("side", [24, 56, 57, 160, 200])
def test_a_grid_fills_the_canvas_with_panels_of_one_size(side):
    pixels = np.asarray(AnalogyRenderer(AnalogyLook(panel_px=side)).draw(make_puzzle(paint_black()), mode="P"))
    assert pixels.shape == (4 * side, 4 * side)
    tiles = pixels.reshape(4, side, 4, side).swapaxes(1, 2)
    panels = [tiles[row, col] for row in range(4) for col in range(4 if row == 3 else 2)]
    assert all(np.array_equal(panel, panels[0]) for panel in panels)
    assert panels[0][side // 2, side // 2] == 0
    assert (panels[0][[0, -1]] == 0).all()
    assert not np.array_equal(tiles[2, 2], panels[0])
    assert (tiles[:3, 3] == 255).all()


def test_panels_stand_in_the_order_of_the_puzzle():
    sides = [Panel((Line("vertical line", 0),) * (index % 2) or (Line("horizontal line", 0),)) for index in range(12)]
    puzzle = make_puzzle(sides[0])
    puzzle = AnalogyInstance(
        **{**vars(puzzle), "examples": (tuple(sides[:3]), tuple(sides[3:6])), "query": tuple(sides[6:8])},
    )
    puzzle = AnalogyInstance(**{**vars(puzzle), "options": tuple(sides[8:])})
    pixels = np.asarray(AnalogyRenderer(AnalogyLook(panel_px=40)).draw(puzzle, mode="P"))
    tiles = pixels.reshape(4, 40, 4, 40).swapaxes(1, 2)
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (3, 3)]
    is_vertical = [tiles[place][10, 20] < 128 for place in places]
    assert is_vertical == [bool(index % 2) for index in range(12)]


def test_equal_puzzles_look_equal_and_different_ones_do_not():
    task = VisualAnalogy(level="hard")
    images = [task.image(task.instance(0, index)).tobytes() for index in (0, 1, 0)]
    assert images[0] == images[2] != images[1]
