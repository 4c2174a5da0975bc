"""Grid Navigation against the authors' own instances: every string to the byte, every fill to the pixel."""

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageColor

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.synthetic._grid import GridInstance
from vlmzoo.scoring import SCORES

GOLDEN = ("s2h", "grid_navigation_*.json")
TASK = TASKS.build({"type": "grid_navigation", "compat": "s2h"})  # the released chains name the wrong object
OURS = TASKS.build({"type": "grid_navigation"})
FILLS = np.array([ImageColor.getrgb(color) for color in ("white", "skyblue", "darkgreen")])
TOLERANCE = 2  # per channel
RESULTS = {"outside": "invalid", "destination": "future-objects-destination"}  # the authors' names, where they differ


def make_instance(content):
    params = content["params"]
    num_objects = len(params["collect_objects_coordinates"].split(":"))
    return GridInstance(
        cells=tuple(map(tuple, params["grid"])),
        objects=tuple(params["objects"][:num_objects]),  # the authors draw names in stock
        obstacles=tuple(params["obstacles"]),
    )


def make_result(neighbour):
    if neighbour.verdict == "later_object":
        return f"future-objects-idx-{neighbour.target}"
    return RESULTS.get(neighbour.verdict, neighbour.verdict)


def make_state(state):
    considered = [{"action": neighbour.action, "result": make_result(neighbour)} for neighbour in state.considered]
    checkpoint = state.collected or -1
    place = {"row": state.row, "col": state.col}
    return {**place, "action": state.action, "checkpoint": checkpoint, "considered_directions": considered}


def test_places_are_the_authors(golden):
    params, instance = golden.content["params"], make_instance(golden.content)
    ends = [[number + 1 for number in cell] for cell in (instance.start, instance.destination)]
    assert ends == [params["start"], params["end"]]
    stops = ":".join([f"{row + 1}-{col + 1}" for row, col in instance.stops])
    assert stops == params["collect_objects_coordinates"]


def test_searches_are_the_authors(golden):
    content, instance = golden.content, make_instance(golden.content)
    assert [make_state(state) for state in instance.trace] == content["dfs_trace"]
    assert len(instance.trace) == content["num_steps"]
    assert list(instance.actions) == content["answer_steps"]


def test_text_forms_are_the_authors(golden):
    content, instance = golden.content, make_instance(golden.content)
    assert TASK.text_form(instance) == content["text_form"]
    assert instance.codes_text == content["grid_string"]


def test_prompts_are_the_authors(golden):
    content, instance = golden.content, make_instance(golden.content)
    assert {kind: TASK.prompt(instance, kind) for kind in content["prompts"]} == content["prompts"]


def test_responses_are_the_authors(golden):
    content, instance = golden.content, make_instance(golden.content)
    found = {
        key: TASK.response(instance, key.removesuffix("_nocot"), cot=not key.endswith("_nocot"))
        for key in content["responses"]
    }
    assert found == content["responses"]


def test_our_chains_name_the_object_that_is_met(golden):
    """The released chains name the object that the search is heading for; nothing else differs."""
    content, instance = golden.content, make_instance(golden.content)
    ours, theirs = OURS.response(instance, "text").splitlines(), content["responses"]["text"].splitlines()
    differing = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    assert all(line.rpartition(" (")[0] == other.rpartition(" (")[0] for line, other in differing)
    assert all(line.rpartition(" future-collect")[1] for line, _ in differing)
    wrong = [state for state in instance.trace for met in state.considered if met.verdict == "later_object"]
    assert bool(differing) == bool(wrong)


def test_the_authors_responses_score_one(golden):
    content = golden.content
    answer = TASK.answer(make_instance(content))
    for name in ("grid_exact_match", "grid_partial_score", "grid_objects_fraction"):
        score = SCORES.build({"type": name})
        assert {score(response, answer) for response in content["responses"].values()} == {1.0}
    score = SCORES.build({"type": "grid_source_dest_score"})
    assert all(score(text, answer) == (not key.endswith("_nocot")) for key, text in content["responses"].items())


def test_pictures_have_the_authors_size(golden):
    assert list(TASK.image(make_instance(golden.content)).size) == golden.content["image_size"]


def check_probes(image, probes):
    """A probe counts where the authors' pixel is a fill and ours is away from all ink and lines."""
    pixels = np.asarray(image).astype(int)
    num_compared = 0
    for probe in probes:
        x, y, color = probe["x"], probe["y"], np.array(probe["rgb"])
        around = pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        if (np.abs(FILLS - color).max(axis=1) <= TOLERANCE).any() and (around == around[0]).all():
            num_compared += 1
            assert np.abs(pixels[y, x] - color).max() <= TOLERANCE, probe
    assert num_compared > len(probes) / 2


def test_pictures_have_the_authors_fills_where_they_were_probed(golden):
    check_probes(TASK.image(make_instance(golden.content)), golden.content["pixel_probes"])


def find_boxes(image, instance):
    """Return the bounding box of the ink in each cell, lines aside, in pixels; and that of everything."""
    is_dark = np.asarray(image.convert("L")) < 128
    size = min(775 / instance.num_cols, 770 / instance.num_rows)
    left, top = 512.5 - size * instance.num_cols / 2, 505 - size * instance.num_rows / 2
    cells = [(r, c) for r, row in enumerate(instance.cells) for c, code in enumerate(row) if code < 0 or code > 2]
    boxes = []
    for row, col in cells:
        x, y = round(left + size * col) + 3, round(top + size * row) + 3
        cell = is_dark[y : y + int(size) - 6, x : x + int(size) - 6]
        xs, ys = np.flatnonzero(cell.any(axis=0)), np.flatnonzero(cell.any(axis=1))
        boxes.append([x + xs[0], y + ys[0], x + xs[-1], y + ys[-1]])
    xs, ys = np.flatnonzero(is_dark.any(axis=0)), np.flatnonzero(is_dark.any(axis=1))
    return np.array([*boxes, [xs[0], ys[0], xs[-1], ys[-1]]])


def test_symbols_and_letters_stand_where_the_authors_stand(golden):
    """Of some instances there are whole pictures: their symbols are ours, to two pixels beside."""
    path = golden.path.with_name(f"{golden.path.stem}_{golden.content['uid']}.png")
    if path.exists():
        instance = make_instance(golden.content)
        ours, theirs = find_boxes(TASK.image(instance), instance), find_boxes(Image.open(path), instance)
        assert np.abs(ours - theirs).max() <= 2


def test_lines_are_the_authors(golden):
    """A row or column of pixels is dark along more than half of its length in both pictures, or in neither."""
    path = golden.path.with_name(f"{golden.path.stem}_{golden.content['uid']}.png")
    if path.exists():
        ours, theirs = (
            np.asarray(image.convert("L")) < 60
            for image in (TASK.image(make_instance(golden.content)), Image.open(path))
        )
        for axis in (0, 1):
            found, expected = ((is_dark.mean(axis=axis) > 0.5).nonzero()[0] for is_dark in (ours, theirs))
            assert len(expected) > 2
            assert all(np.abs(expected - line).min() <= 1 for line in found)
            assert all(np.abs(found - line).min() <= 1 for line in expected)


@pytest.mark.slow
def test_matplotlib_draws_the_authors_picture_to_the_byte(golden):
    """With their version; with another one, the fills are theirs."""
    matplotlib, content = pytest.importorskip("matplotlib"), golden.content
    image = TASKS.build({"type": "grid_navigation", "image": "matplotlib"}).image(make_instance(content))
    if matplotlib.__version__ == "3.9.2":
        assert hashlib.sha256(image.tobytes()).hexdigest() == content["image_sha256"]
    check_probes(image, content["pixel_probes"])
