"""The state of a run: written whole, found again, and refused when it is another's."""

import json
import random

import numpy as np
import pytest
import torch

from vlmzoo.checkpoint import restore_training, save_training
from vlmzoo.checkpoint.training import random_state, set_random_state
from vlmzoo.errors import CheckpointError


class Engine:
    """Keeps one number; can be told to fail while it writes."""

    def __init__(self, value=0, *, fails=False):
        self.value, self.fails = value, fails

    def save(self, folder):
        folder.mkdir()
        (folder / "value.json").write_text(json.dumps(self.value))
        if self.fails:
            raise OSError(28, "No space left on device")

    def restore(self, folder):
        self.value = json.loads((folder / "value.json").read_text())


class Experience:
    def __init__(self, cursor=0):
        self.cursor = cursor

    def state_dict(self):
        return {"cursor": self.cursor}

    def load_state_dict(self, state):
        self.cursor = state["cursor"]


def save(folder, step, *, keep=2, **options):
    return save_training(folder, step=step, engine=Engine(step, **options), experience=Experience(step), keep=keep)


def test_what_was_saved_comes_back(tmp_path):
    checkpoint = save(tmp_path, 7)
    engine, experience = Engine(), Experience()
    assert restore_training(checkpoint, engine=engine, experience=experience) == 7
    assert (engine.value, experience.cursor) == (7, 7)


def test_every_random_generator_goes_on_where_it_stood(tmp_path):
    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()

    checkpoint = save(tmp_path, 1)
    expected = draws()
    draws()
    restore_training(checkpoint, engine=Engine(), experience=Experience())
    assert draws() == expected
    set_random_state(state := random_state())
    assert random_state()["python"] == state["python"]


def test_the_latest_are_kept_and_leftovers_of_a_kill_are_removed(tmp_path):
    (tmp_path / ".step-1.partial").mkdir()
    for step in (2, 4, 10):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-4"]


def test_a_full_disk_leaves_the_older_checkpoint_and_no_half_written_one(tmp_path):
    save(tmp_path, 2)
    with pytest.raises(CheckpointError, match="step 4 cannot be written .*No space left"):
        save(tmp_path, 4, fails=True)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-2"]
    save(tmp_path, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2", "step-6"]


def test_another_number_of_ranks_is_refused(tmp_path):
    checkpoint = save(tmp_path, 2)
    facts = json.loads((checkpoint / "run.json").read_text())
    (checkpoint / "run.json").write_text(json.dumps(facts | {"world_size": 4}))
    with pytest.raises(CheckpointError, match="was written by 4 ranks, but 1 run now"):
        restore_training(checkpoint, engine=Engine(), experience=Experience())


def test_another_format_is_refused(tmp_path):
    checkpoint = save(tmp_path, 2)
    facts = json.loads((checkpoint / "run.json").read_text())
    (checkpoint / "run.json").write_text(json.dumps(facts | {"format": 7}))
    with pytest.raises(CheckpointError, match="must have format 1, but has 7 instead"):
        restore_training(checkpoint, engine=Engine(), experience=Experience())


@pytest.mark.parametrize("damage", ["missing", "torn", "empty"])
def test_a_rank_whose_share_cannot_be_read_is_told_with_the_way_out(tmp_path, damage):
    checkpoint = save(tmp_path, 2)
    share = checkpoint / "rank-0.pt"
    whole = share.read_bytes()
    share.unlink()
    if damage != "missing":
        share.write_bytes(whole[: len(whole) // 2] if damage == "torn" else b"")
    with pytest.raises(CheckpointError, match=r"rank-0\.pt` cannot be read .*delete"):
        restore_training(checkpoint, engine=Engine(), experience=Experience())


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint of a run"):
        restore_training(tmp_path, engine=Engine(), experience=Experience())
