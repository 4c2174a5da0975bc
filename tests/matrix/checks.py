"""What a pair of base and adapters is asked."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.matrix.pairs import MOST_STEPS, Learner, learn_by_heart, make_pair, said_by, wanted_of
from vlmzoo import load_model
from vlmzoo.checkpoint import save_model

__all__ = ["check_all", "check_cheaply", "check_resuming"]

NUM_STEPS = 3


def check_cheaply(base: str, adapters: str, folder: Path) -> None:
    """Build, say something, save and load: the loaded model has the same weights and says the same."""
    model = make_pair(base, adapters)
    said = said_by(model, max_new_tokens=3)
    loaded = reloaded(model, folder)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert loaded.adapter_specs == model.adapter_specs
    assert said_by(loaded, max_new_tokens=3) == said


def check_resuming(base: str, adapters: str, folder: Path) -> None:
    """Three steps, a folder, and three steps more are six steps.

    To rounding: what was loaded lies elsewhere in memory, and kernels sum in another order there. Whole runs, whose
    state is restored into the same places, are compared bit for bit in tests/smoke/test_resume.py.
    """
    whole = Learner(make_pair(base, adapters))
    expected = [whole.step() for _ in range(2 * NUM_STEPS)]
    first = Learner(make_pair(base, adapters))
    losses = [first.step() for _ in range(NUM_STEPS)]
    second = Learner(reloaded(first.model, folder), state=first.optimiser.state_dict())
    losses += [second.step() for _ in range(NUM_STEPS)]
    assert losses == pytest.approx(expected, rel=1e-5)


def check_all(base: str, adapters: str, folder: Path) -> int:
    """All of it, and eight samples learned by heart, also after saving and loading; return the steps that it took."""
    check_cheaply(base, adapters, folder / "cheap")
    check_resuming(base, adapters, folder / "half")
    model = make_pair(base, adapters)
    num_steps = learn_by_heart(model)
    assert num_steps < MOST_STEPS
    assert said_by(model) == wanted_of(model)
    assert said_by(reloaded(model, folder / "learned")) == wanted_of(model)
    return num_steps


def reloaded(model: Any, folder: Path) -> Any:
    """Save a model and load it back."""
    save_model(model, model.processor, folder)
    return load_model(folder, dtype="float32")[0]
