import sys

import pytest

from vlmzoo.errors import MissingExtraError
from vlmzoo.integrations.tensorboard import TensorboardTracker


def test_scalars_are_read_back_by_tensorboard(tmp_path):
    tracker = TensorboardTracker(tmp_path / "events")
    for step in (1, 2):
        tracker.log(step, {"step": step, "loss": 1.0 / step, "note": "not a number"})
    tracker.close()

    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(tmp_path / "events")).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]


def test_without_tensorboard_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"vlmzoo\[train\]"):
        TensorboardTracker(tmp_path)
