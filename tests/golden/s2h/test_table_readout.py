"""Table Readout against the authors' own instances: strings to the byte, fills to the pixel, paths by the rule."""

import hashlib
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageColor

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.synthetic._readout_paths import TRIMS, WALKS
from vlmzoo.data.synthetic._table import TableInstance
from vlmzoo.scoring import SCORES

GOLDEN = ("s2h", "table_readout_*.json")
FILLS = np.array([ImageColor.getrgb(color) for color in ("#ffffff", "#40466e", "#f5f5f5", "#ffff00")])
TOLERANCE = 2  # per channel
GENERATOR = re.compile(r"(sinusoid|spiral|compositional)(?:al)?_(?:gap_)?([0-9]+)_npieces_([0-9]+)")


def make_instance(content):
    params = content["params"]
    return TableInstance(
        row_names=tuple(params["row_names"]),
        col_names=tuple(params["col_names"]),
        values=tuple(map(tuple, params["values"])),
        path=tuple(map(tuple, params["path"])),
    )


def make_task():
    return TASKS.build({"type": "table_readout"})


def draw(content):
    return make_task().image(make_instance(content))


def is_fill(color):
    return bool((np.abs(FILLS - color).max(axis=1) <= TOLERANCE).any())


def test_text_forms_are_the_authors(golden):
    assert make_task().text_form(make_instance(golden.content)) == golden.content["text_form"]


def test_prompts_are_the_authors(golden):
    content = golden.content
    task, instance = make_task(), make_instance(content)
    assert {kind: task.prompt(instance, kind) for kind in content["prompts"]} == content["prompts"]


def test_responses_are_the_authors(golden):
    content = golden.content
    task, instance = make_task(), make_instance(content)
    found = {
        key: task.response(instance, key.removesuffix("_nocot"), cot=not key.endswith("_nocot"))
        for key in content["responses"]
    }
    assert found == content["responses"]


def test_answers_are_the_authors(golden):
    content = golden.content
    instance = make_instance(content)
    assert make_task().answer(instance) == content["answer_list"]
    assert str(instance.total) == content["answer_total"]


def test_the_authors_responses_score_one(golden):
    for name in ("table_exact_match", "table_cot_exact_match"):
        score = SCORES.build({"type": name})
        for key, response in golden.content["responses"].items():
            expected = float(not key.endswith("_nocot") or name == "table_exact_match")
            assert score(response, golden.content["answer_list"]) == expected


class Script:
    """Draws that were decided before; after the last decision the first outcome is taken, and noted."""

    def __init__(self, decisions):
        self.decisions, self.counts = list(decisions), []

    def integer(self, low, high):
        self.counts.append(high - low + 1)
        if len(self.counts) > len(self.decisions):
            self.decisions.append(0)
        return low + self.decisions[len(self.counts) - 1]

    def coin(self):
        return bool(self.integer(0, 1))


def all_walks(walk, *arguments):
    """Walk once for every sequence of decisions."""
    stack = [()]
    while stack:
        script = Script(start := stack.pop())
        yield tuple(walk(script, *arguments))
        for place in range(len(start), len(script.counts)):
            stack.extend((*script.decisions[:place], other) for other in range(1, script.counts[place]))


def is_trimmed(path, walk, most):
    """Say whether ``path`` is ``walk``, in either direction, without up to ``most`` cells at each end."""
    for found in (path, path[::-1]):
        if found[0] in walk:
            front = walk.index(found[0])
            if front <= most and len(walk) - front - len(found) <= most and walk[front : front + len(found)] == found:
                return True
    return False


def pieces_of(path):
    """Return the corners of a path, with its ends."""
    is_corner = [a[0] != c[0] and a[1] != c[1] for (a, _), (_, c) in pairwise(pairwise(path))]
    return [path[0], *[cell for cell, is_kept in zip(path[1:-1], is_corner, strict=True) if is_kept], path[-1]]


def follows_the_random_rule(path):
    """Check a path of few corners: how far its ends are apart, where it ends, and where it turns."""
    corners = pieces_of(path)
    moves = [tuple(np.subtract(b, a)) for a, b in pairwise(corners)]
    apart = np.abs(np.subtract(path[-1], path[0]))
    if len(moves) == 1:
        return apart.max() >= 4
    early = corners[1:-2]  # the last two pieces lead to the end
    axes = [int(move[1] != 0) for move in moves]
    near_end = [abs(corner[axis] - path[-1][axis]) <= 1 for corner, axis in zip(early, axes, strict=False)]
    onwards = [
        move[axis] * (path[-1][axis] - corner[axis]) > 0
        for move, corner, axis in zip(moves, corners, axes, strict=False)
    ]
    return len(moves) <= 4 and apart.min() >= 4 and not any(near_end) and all(onwards) and min(path[-1]) > 0


def test_paths_are_some_that_our_rule_draws(golden):
    """Of the kinds with corners by rule, every draw is tried; of the random kind, the rule's limits are checked."""
    content = golden.content
    instance = make_instance(content)
    generator = content.get("generator") or content["uid"]
    found = GENERATOR.match(generator)
    if found is None:
        assert generator.startswith("random")
        assert follows_the_random_rule(instance.path)
        return
    kind, gap, pieces = found.group(1), int(found.group(2)), int(found.group(3))
    size = len(instance.row_names), len(instance.col_names)
    walks = all_walks(WALKS[kind], size, pieces, gap)
    assert any(is_trimmed(instance.path, walk, TRIMS[kind]) for walk in walks)


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
    image = TASKS.build({"type": "table_readout", "image": "matplotlib"}).image(make_instance(content))
    if matplotlib.__version__ == "3.9.2":
        assert hashlib.sha256(image.tobytes()).hexdigest() == content["image_sha256"]
    check_probes(image, content["pixel_probes"])
