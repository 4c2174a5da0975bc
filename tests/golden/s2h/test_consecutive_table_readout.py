"""Consecutive Table Readout against the authors' own instances: every string to the byte, every fill to the pixel."""

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageColor

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.synthetic._table import TableInstance

GOLDEN = ("s2h", "consecutive_table_readout_*.json")
FILLS = np.array([ImageColor.getrgb(color) for color in ("#ffffff", "#40466e", "#f5f5f5", "#ffff00")])
TOLERANCE = 2  # per channel


def make_instance(content):
    params = content["params"]
    return TableInstance(
        row_names=tuple(params["row_names"]),
        col_names=tuple(params["col_names"]),
        values=tuple(map(tuple, params["values"])),
        path=tuple(map(tuple, params["path"])),
    )


def make_task(content, **options):
    params = content["params"]
    size = {"num_rows": len(params["row_names"]), "num_cols": len(params["col_names"])}
    return TASKS.build({"type": "consecutive_table_readout", **size, **options})


def draw(content):
    return make_task(content).image(make_instance(content))


def is_fill(color):
    return bool((np.abs(FILLS - color).max(axis=1) <= TOLERANCE).any())


def test_text_forms_are_the_authors(golden):
    content = golden.content
    assert make_task(content).text_form(make_instance(content)) == content["text_form"]


def test_prompts_are_the_authors(golden):
    content = golden.content
    task, instance = make_task(content), make_instance(content)
    assert {kind: task.prompt(instance, kind) for kind in content["prompts"]} == content["prompts"]


def test_responses_are_the_authors(golden):
    content = golden.content
    task, instance = make_task(content), make_instance(content)
    found = {
        key: task.response(instance, key.removesuffix("_nocot"), cot=not key.endswith("_nocot"))
        for key in content["responses"]
    }
    assert found == content["responses"]


def test_answers_are_the_authors(golden):
    content = golden.content
    instance = make_instance(content)
    assert make_task(content).answer(instance) == content["answer_list"]
    assert str(instance.total) == content["answer_total"]


def test_pictures_have_the_authors_size(golden):
    assert list(draw(golden.content).size) == golden.content["image_size"]


def check_probes(image, probes):
    """A probe counts where the authors' pixel is a fill and ours is away from all ink and lines."""
    pixels = np.asarray(image).astype(int)
    num_compared = 0
    for probe in probes:
        x, y, color = probe["x"], probe["y"], np.array(probe["rgb"])
        around = pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        if is_fill(color) and (around == around[0]).all():
            num_compared += 1
            assert np.abs(pixels[y, x] - color).max() <= TOLERANCE, probe
    assert num_compared > len(probes) / 2


def test_pictures_have_the_authors_fills_where_they_were_probed(golden):
    check_probes(draw(golden.content), golden.content["pixel_probes"])


def find_lines(image):
    """Return x and y of the black lines between cells, in pixels."""
    is_dark = np.asarray(image.convert("L")) < 20
    ys = np.flatnonzero(is_dark.mean(axis=1) > 0.5)
    xs = np.flatnonzero(is_dark[ys[0] : ys[-1]].mean(axis=0) > 0.75)
    return xs, ys


def test_cells_stand_where_the_authors_stand(golden):
    """Of some instances there are whole pictures: their lines are ours, to the pixel beside."""
    path = golden.path.with_name(f"{golden.path.stem}_{golden.content['uid']}.png")
    if path.exists():
        for ours, theirs in zip(find_lines(draw(golden.content)), find_lines(Image.open(path)), strict=True):
            assert len(ours) == len(theirs) > 2
            assert np.abs(ours - theirs).max() <= 1


@pytest.mark.slow
def test_matplotlib_draws_the_authors_picture_to_the_byte(golden):
    """With their version; with another one, the lines and fills are theirs."""
    matplotlib, content = pytest.importorskip("matplotlib"), golden.content
    image = make_task(content, image="matplotlib").image(make_instance(content))
    if matplotlib.__version__ == "3.9.2":
        assert hashlib.sha256(image.tobytes()).hexdigest() == content["image_sha256"]
    check_probes(image, content["pixel_probes"])
