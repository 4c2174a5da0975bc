import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic._table_image import DIGIT_WORDS
from vlmzoo.data.synthetic._table_look import TableLook
from vlmzoo.data.synthetic.consecutive_table_readout import ConsecutiveTableReadout, TableInstance
from vlmzoo.errors import ConfigError

YELLOW, GREY, BLUE = (255, 255, 0), (245, 245, 245), (64, 70, 110)


def make_task(**image):
    return ConsecutiveTableReadout(style="compact", num_rows=4, num_cols=5, path_cells=(2, 5), image=image)


def cells_of(task, instance):
    """Cut the picture of a grid into its cells: ``(R + 1, C + 1, cell height, cell width, 3)``."""
    pixels = np.asarray(task.image(instance))
    height, width = pixels.shape[0] // (task.num_rows + 1), pixels.shape[1] // (task.num_cols + 1)
    return pixels.reshape(task.num_rows + 1, height, task.num_cols + 1, width, 3).swapaxes(1, 2)


@pytest.mark.parametrize(("cell_width", "cell_height"), [(32, 32), (28, 14), (56, 40)])
def test_a_grid_fills_the_canvas_with_cells_of_one_size(cell_width, cell_height):
    task = make_task(cell_width=cell_width, cell_height=cell_height)
    assert task.image(task.instance(0, 0)).size == (6 * cell_width, 5 * cell_height)


@given(st.integers(0, 10**6))
def test_yellow_is_where_the_path_is(index):
    task = make_task()
    instance = task.instance(0, index)
    is_yellow = (cells_of(task, instance) == YELLOW).all(axis=-1).any(axis=(2, 3))
    assert {(r - 1, c - 1) for r, c in np.argwhere(is_yellow)} == set(instance.path)


def test_equal_values_look_equal_and_different_values_do_not():
    task = make_task()
    names = {"row_names": ("Ann", "Ben"), "col_names": ("Jan", "Feb", "Mar", "Apr", "May")}
    instance = TableInstance(**names, values=((0, 1, 2, 3, 4),) * 2, path=())
    more = TableInstance(**names, values=((5, 6, 7, 8, 9),) * 2, path=((1, 0), (1, 1)))
    pixels = [np.asarray(task.image(table)) for table in (instance, more)]
    tiles = [p[32:64, 32 * c : 32 * (c + 1)].tobytes() for p in pixels for c in range(1, 6)]
    assert len(set(tiles)) == len(DIGIT_WORDS)
    below = [p[64:96, 32 * c : 32 * (c + 1)].tobytes() for p in pixels for c in range(1, 6)]
    assert [a == b for a, b in zip(tiles, below, strict=True)] == [True] * 5 + [False] * 2 + [True] * 3


def test_words_do_not_touch_the_edges_of_their_cells():
    task = make_task(cell_width=32, cell_height=24, border_px=0)
    for index in range(40):
        cells = cells_of(task, task.instance(0, index))
        edges = np.concatenate([cells[:, :, 0], cells[:, :, -1], cells[:, :, :, 0], cells[:, :, :, -1]], axis=2)
        assert (edges == edges[:, :, :1]).all()


def test_colours_and_borders_are_options():
    task = make_task(highlight_color="#ff0000", border_color="#00ff00", border_px=2, background_color="#0000ff")
    instance = task.instance(0, 0)
    cells = cells_of(task, instance)
    row, col = instance.path[0]
    assert (cells[row + 1, col + 1, :2] == (0, 255, 0)).all()
    assert tuple(cells[row + 1, col + 1, 3, 3]) == (255, 0, 0)
    assert (cells[0, 0] == (0, 0, 255)).all()


def test_a_margin_surrounds_a_closed_grid():
    task = make_task(cell_width=32, cell_height=32, margin=5)
    pixels = np.asarray(task.image(task.instance(0, 0)))
    assert pixels.shape == (5 * 32 + 10, 6 * 32 + 10, 3)
    assert (pixels[:5] == 255).all()
    assert (pixels[6 * 32 + 5 - 32, 5:-5] == 0).all()


def test_the_figure_has_the_layout_of_the_paper():
    task = ConsecutiveTableReadout()
    instance = task.instance(0, 0)
    image = task.image(instance)
    assert image.size == (1500, 800)
    pixels = np.asarray(image)
    assert tuple(pixels[172, 1400]) == BLUE
    row, col = instance.path[0]
    assert tuple(pixels[246 + 77 * row + 4, 1430 - 100 * (9 - col) - 20]) in (YELLOW, GREY)
    assert (pixels[633:] == 255).all()
    assert (pixels[:168] == 255).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"cell_width": 32}, "given together"),
        ({"cell_width": 0, "cell_height": 9}, "`image.cell_width` must be an integer from 1"),
        ({"cell_width": 32.0, "cell_height": 9}, "`image.cell_width` must be an integer"),
        ({"cell_width": 32, "cell_height": 32, "width": 100}, "must be left out where"),
        ({"margin": 4}, "`image.margin` must be left out"),
        ({"text_color": "black"}, "`image.text_color` must be a colour"),
        ({"text_color": "#12"}, "`image.text_color` must be a colour"),
        ({"border_px": -1}, "`image.border_px` must be an integer from 0"),
        ({"font_px": True}, "`image.font_px` must be a number"),
        ({"widht": 100}, "Did you mean `width`"),
        ({"cell_width": 12, "cell_height": 12}, "make the cells larger"),
        ({"width": 300, "height": 100}, "must hold 5 rows"),
        (7, "`image` must be a mapping"),
    ],
)
def test_looks_that_cannot_be_drawn_are_refused(image, words):
    with pytest.raises(ConfigError, match=words):
        ConsecutiveTableReadout(image=image)


def test_looks_are_read_from_mappings():
    assert TableLook.parse({"cell_width": 24, "cell_height": 24}) == TableLook.compact(24)
    assert TableLook.parse(TableLook()) == TableLook()
    assert TableLook.compact(24, border_px=0).border_px == 0
