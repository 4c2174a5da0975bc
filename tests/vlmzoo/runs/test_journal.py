import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import DataError
from vlmzoo.runs.journal import Journal, read_journal


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
def test_losses_are_read_back_to_the_last_bit(tmp_path_factory, losses):
    path = tmp_path_factory.mktemp("run") / "journal.jsonl"
    journal = Journal(path)
    for step, loss in enumerate(losses, start=1):
        journal.write({"step": step, "loss": loss})
    journal.close()
    assert [row["loss"] for row in read_journal(path)] == losses


def test_a_loss_that_is_no_number_is_written_all_the_same(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write({"step": 1, "loss": float("nan")})
    assert np.isnan(read_journal(tmp_path / "journal.jsonl")[0]["loss"])


def test_tensors_and_arrays_of_one_element_are_numbers(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write({"step": np.int64(1), "loss": torch.tensor(0.5)})
    assert read_journal(tmp_path / "journal.jsonl") == [{"step": 1, "loss": 0.5}]


def test_of_a_step_repeated_after_a_kill_the_last_line_counts(tmp_path):
    path = tmp_path / "journal.jsonl"
    for steps, loss in (((1, 2, 3), 1.0), ((2, 3, 4), 2.0)):
        journal = Journal(path)
        for step in steps:
            journal.write({"step": step, "loss": loss})
        journal.close()
    assert [(row["step"], row["loss"]) for row in read_journal(path)] == [(1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]


def test_a_kill_in_the_middle_of_a_line_costs_that_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert read_journal(path) == [{"step": 1, "loss": 0.5}]


@pytest.mark.parametrize("missing", ["step", "loss"])
def test_a_line_without_step_or_loss_is_refused(tmp_path, missing):
    record = {name: 1 for name in ("step", "loss", "lr") if name != missing}
    with pytest.raises(DataError, match=f"must hold `{missing}`"):
        Journal(tmp_path / "journal.jsonl").write(record)
