import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.data.synthetic._grid_look import GridLook
from vlmzoo.data.synthetic.grid_navigation import GridNavigation
from vlmzoo.errors import ConfigError

INDICES = st.integers(0, 10**9)
SMALL = GridNavigation(num_rows=[3, 4], num_cols=[3, 5], num_objects=[1, 2], num_states=[2, 20], image={"cell_px": 28})


def cells_of(task, instance):
    """Cut a picture with square cells: ``(R, C, cell, cell, 3)``, without the letters."""
    pixels, cell = np.asarray(task.image(instance)), task.renderer.look.cell_px
    grid = pixels.reshape(instance.num_rows + 1, cell, instance.num_cols + 1, cell, 3).swapaxes(1, 2)
    return grid[:-1, 1:]


@given(INDICES)
def test_cells_show_what_they_hold(index):
    instance = SMALL.instance(0, index)
    cells = cells_of(SMALL, instance)[:, :, 1:-1, 1:-1]
    seen = {}
    for row, codes in enumerate(instance.cells):
        for col, code in enumerate(codes):
            seen.setdefault(code, set()).add(cells[row, col].tobytes())
    assert {len(pictures) for pictures in seen.values()} == {1}
    assert len(set.union(*seen.values())) == len(seen)
    assert (cells[instance.start] == (135, 206, 235)).all()
    assert (cells[instance.destination] == (0, 100, 0)).all()


def test_all_symbols_differ():
    names = [*SMALL.wording.objects, *SMALL.wording.obstacles]
    codes = [*range(3, 34), *range(-5, 0)]
    rows = [[1, 2, 0, 0, 0, 0], *[codes[start : start + 6] for start in range(0, 36, 6)]]
    wide = GridInstance(cells=tuple(map(tuple, rows)), objects=tuple(names[:31]), obstacles=tuple(names[31:]))
    pictures = {cell.tobytes() for row in cells_of(SMALL, wide)[1:, :, 1:-1, 1:-1] for cell in row}
    assert len(pictures) == 36


def test_colours_are_options():
    colors = {"start_color": "#ff0000", "destination_color": "#00ff00", "background_color": "#0000ff"}
    task = GridNavigation(image={"cell_px": 32, "border_px": 2, "ink_color": "#ffff00", **colors})
    instance = task.instance(0, 0)
    cells = cells_of(task, instance)
    assert (cells[instance.start][2:-2, 2:-2] == (255, 0, 0)).all()
    assert (cells[instance.destination][2:-2, 2:-2] == (0, 255, 0)).all()
    assert (cells[1, 1, 0] == (255, 255, 0)).all()
    assert tuple(np.asarray(task.image(instance))[-1, 0]) == (0, 0, 255)


@pytest.mark.parametrize("size_px", [400, 1000])
def test_figures_of_all_sizes_have_one_layout(size_px):
    task = GridNavigation(image={"size_px": size_px})
    instance = GridInstance(cells=((1, 0, 0), (0, 0, 0), (0, 0, 2)), objects=(), obstacles=())
    pixels = np.asarray(task.image(instance))
    assert pixels.shape == (size_px, size_px, 3)
    scale = size_px / 1000
    assert tuple(pixels[round(200 * scale), round(200 * scale)]) == (135, 206, 235)
    assert tuple(pixels[round(800 * scale), round(800 * scale)]) == (0, 100, 0)
    assert (pixels[: round(118 * scale)] == 255).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"cell_px": 0}, "`image.cell_px` must be an integer from 1"),
        ({"cell_px": 28.0}, "`image.cell_px` must be an integer"),
        ({"cell_px": 28, "size_px": 500}, "`image.size_px` must be left out"),
        ({"cell_px": 6}, "`image.cell_px` must let symbols have 6.0 px"),
        ({"size_px": 90}, "`image.size_px` must let symbols have 6.0 px"),
        ({"border_px": True}, "`image.border_px` must be an integer"),
        ({"start_color": "blue"}, "`image.start_color` must be a colour"),
        ({"cell": 28}, "`image` takes no `cell`. Did you mean `cell_px`"),
        (7, "`image` must be a mapping"),
    ],
)
def test_looks_that_cannot_be_drawn_are_refused(image, words):
    with pytest.raises(ConfigError, match=words):
        GridNavigation(image=image)


def test_looks_are_read_from_mappings():
    assert GridLook.parse({"cell_px": 28}) == GridLook(cell_px=28)
    assert GridLook.parse(None) == GridLook.parse(GridLook()) == GridLook()
