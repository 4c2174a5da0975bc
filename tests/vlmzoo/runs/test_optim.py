"""Who learns, at what rate, and how the rate moves."""

import pytest
from torch import nn

from vlmzoo.config.schema import OptimConfig, ScheduleConfig
from vlmzoo.errors import ConfigError
from vlmzoo.runs.optim import make_schedule, parameter_groups


def make_parts():
    return {"encoder": nn.Linear(2, 3), "projector": nn.Linear(3, 3), "language_model": nn.LayerNorm(3)}


def test_frozen_parts_do_not_learn_and_others_do():
    parts = make_parts()
    groups = parameter_groups(parts, OptimConfig(learning_rate=1.0, frozen=["encoder"]))
    learning = {id(p) for group in groups for p in group["params"]}
    assert learning == {id(p) for name in ("projector", "language_model") for p in parts[name].parameters()}
    assert not any(p.requires_grad for p in parts["encoder"].parameters())


def test_parts_learn_at_their_own_rate_and_biases_and_norms_are_not_decayed():
    optim = OptimConfig(learning_rate=1.0, weight_decay=0.1, part_learning_rates={"projector": 0.5})
    groups = parameter_groups(make_parts(), optim)
    assert {(g["lr"], g["weight_decay"], len(g["params"])) for g in groups} == {
        (1.0, 0.1, 1),
        (1.0, 0.0, 1),
        (0.5, 0.1, 1),
        (0.5, 0.0, 1),
        (1.0, 0.0, 2),
    }


def test_a_tensor_that_two_parts_share_learns_once():
    shared = nn.Linear(2, 2)
    groups = parameter_groups({"a": shared, "b": shared}, OptimConfig(learning_rate=1.0))
    assert sum(len(group["params"]) for group in groups) == 2


def test_unknown_parts_and_nothing_to_learn_are_refused():
    with pytest.raises(ConfigError, match="no part named `encodr`. Did you mean `encoder`"):
        parameter_groups(make_parts(), OptimConfig(learning_rate=1.0, frozen=["encodr"]))
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        parameter_groups(make_parts(), OptimConfig(learning_rate=1.0, frozen=list(make_parts())))


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_ends_where_it_should(shape):
    schedule = make_schedule(ScheduleConfig(type=shape, warmup=0.1, final=0.2), 100)
    factors = [schedule(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0 and max(factors) == 1.0
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(1.0 if shape == "constant" else 0.2)
