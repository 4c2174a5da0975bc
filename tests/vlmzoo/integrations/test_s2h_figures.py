"""Matplotlib draws tables and grids as the authors do: size, fills, and nothing of the user's own style."""

import pickle
import sys

import numpy as np
import pytest

from vlmzoo.data.export import Split, export_task
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError, MissingExtraError

SIZES = {"consecutive_table_readout": (1500, 800), "table_readout": (1500, 800), "grid_navigation": (1000, 1000)}
TABLE_FILLS = ((64, 70, 110), (245, 245, 245), (255, 255, 0))
FILLS = {**dict.fromkeys(SIZES, TABLE_FILLS), "grid_navigation": ((135, 206, 235), (0, 100, 0))}
SMALL = {"table_readout": {"num_rows": 7, "num_cols": 7}, "grid_navigation": {"num_rows": 8, "num_cols": 8}}


def make(name, **options):
    return TASKS.build({"type": name, **SMALL.get(name, {}), **options})


@pytest.mark.parametrize("name", SIZES)
def test_fills_are_those_of_our_own_pictures(name):
    pytest.importorskip("matplotlib")
    task, ours = make(name, image="matplotlib"), make(name)
    instance = task.instance(0, 0)
    theirs, drawn = (np.asarray(one.image(instance)).reshape(-1, 3) for one in (task, ours))
    assert task.image(instance).size == SIZES[name]
    for fill in FILLS[name]:
        shares = [float((pixels == fill).all(axis=1).mean()) for pixels in (theirs, drawn)]
        assert 0.004 < shares[0] == pytest.approx(shares[1], rel=0.1)  # letters cover more or less of a fill


def test_the_users_style_changes_nothing():
    matplotlib = pytest.importorskip("matplotlib")
    task = pickle.loads(pickle.dumps(make("grid_navigation", image="matplotlib")))
    instance = task.instance(0, 0)
    before = task.image(instance, mode="P").tobytes()
    with matplotlib.rc_context({"axes.facecolor": "red", "axes.linewidth": 5}):
        assert task.image(instance).tobytes() == before


def test_figures_are_exported_and_read_back(tmp_path):
    pytest.importorskip("matplotlib")
    task = make("consecutive_table_readout", image="matplotlib")
    (path,) = export_task(task, Split(kinds=["image"], num=1), tmp_path)
    read = SOURCES.build({"type": "llava_json", "path": str(path)}).sample(0)
    assert load_image(read.images[0]).tobytes() == task.image(task.instance(0, 0)).tobytes()


@pytest.mark.parametrize("name", SIZES)
def test_matplotlib_is_asked_for_when_it_is_not_there(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"vlmzoo\[s2h\]"):
        make(name, image="matplotlib")


def test_other_words_are_no_look():
    for name in SIZES:
        with pytest.raises(ConfigError, match="`image` must be a mapping of options, but is 'pillow'"):
            make(name, image="pillow")
