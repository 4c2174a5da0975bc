import sys

import pytest

from vlmzoo.errors import MissingExtraError
from vlmzoo.integrations.tensorboard import TensorboardTracker


def read_scalars(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_scalars_are_read_back_by_tensorboard(tmp_path):
    tracker = TensorboardTracker(tmp_path / "events")
    for step in (1, 2):
        tracker.log(step, {"loss": 1.0 / step, "simple/exact": 0.25 * step})
    tracker.close()
    found = read_scalars(tmp_path / "events")
    assert found == {"loss": [(1, 1.0), (2, 0.5)], "simple/exact": [(1, 0.25), (2, 0.5)]}


def test_a_run_that_goes_on_adds_to_what_is_there(tmp_path):
    for first in (1, 3):
        tracker = TensorboardTracker(tmp_path)
        for step in (first, first + 1):
            tracker.log(step, {"loss": 1.0 / step})
        tracker.close()
    assert [step for step, _ in read_scalars(tmp_path)["loss"]] == [1, 2, 3, 4]


def test_without_tensorboard_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"vlmzoo\[train\]"):
        TensorboardTracker(tmp_path)
