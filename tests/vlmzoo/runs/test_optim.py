"""Who learns, at what rate, and how the rate moves."""

import pytest
from torch import nn

from vlmzoo.config.schema import OptimConfig, ScheduleConfig
from vlmzoo.errors import ConfigError
from vlmzoo.runs.optim import make_schedule, parameter_groups


class Parts(nn.Module):
    """Three parts, one of them a norm, and a tensor that two of them share."""

    part_names = ("encoder", "projector", "language_model")

    def __init__(self):
        super().__init__()
        self.encoder, self.projector = nn.Linear(2, 3), nn.Linear(3, 3)
        self.language_model = nn.LayerNorm(3)

    def part_of(self, name):
        return name.split(".")[0]


def test_frozen_parts_do_not_learn_and_others_do():
    model = Parts()
    groups = parameter_groups(model, OptimConfig(learning_rate=1.0, frozen=["encoder"]))
    learning = {id(p) for group in groups for p in group["params"]}
    assert learning == {id(p) for part in (model.projector, model.language_model) for p in part.parameters()}
    assert not any(p.requires_grad for p in model.encoder.parameters())


def test_what_an_adapter_froze_stays_frozen():
    model = Parts()
    model.encoder.requires_grad_(False)
    groups = parameter_groups(model, OptimConfig(learning_rate=1.0))
    assert sum(len(group["params"]) for group in groups) == 4
    assert not any(p.requires_grad for p in model.encoder.parameters())


def test_parts_learn_at_their_own_rate_and_biases_and_norms_are_not_decayed():
    optim = OptimConfig(learning_rate=1.0, weight_decay=0.1, part_learning_rates={"projector": 0.5})
    groups = parameter_groups(Parts(), optim)
    assert {(g["lr"], g["weight_decay"], len(g["params"])) for g in groups} == {
        (1.0, 0.1, 1),
        (1.0, 0.0, 3),
        (0.5, 0.1, 1),
        (0.5, 0.0, 1),
    }


def test_a_tensor_that_two_parts_share_learns_once():
    model = Parts()
    model.projector.bias = model.encoder.bias
    groups = parameter_groups(model, OptimConfig(learning_rate=1.0))
    assert sum(len(group["params"]) for group in groups) == 5


def test_unknown_parts_and_nothing_to_learn_are_refused():
    with pytest.raises(ConfigError, match="no part named `encodr`. Did you mean `encoder`"):
        parameter_groups(Parts(), OptimConfig(learning_rate=1.0, frozen=["encodr"]))
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        parameter_groups(Parts(), OptimConfig(learning_rate=1.0, frozen=list(Parts.part_names)))


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_ends_where_it_should(shape):
    schedule = make_schedule(ScheduleConfig(type=shape, warmup=0.1, final=0.2), 100)
    factors = [schedule(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0 and max(factors) == 1.0
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(1.0 if shape == "constant" else 0.2)
