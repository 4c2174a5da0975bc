"""Who learns, at what rate, and how the rate moves."""

import itertools
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vlmzoo.config.schema import OptimConfig, ScheduleConfig
from vlmzoo.errors import ConfigError
from vlmzoo.models.assembler import assemble_model
from vlmzoo.runs.layers import layer_numbers
from vlmzoo.runs.optim import make_schedule, parameter_groups


class Parts(nn.Module):
    """Three parts, one of them a norm, and a tensor that two of them share."""

    part_names = ("encoder", "projector", "language_model")
    part_prefixes: ClassVar = {name: (f"{name}.",) for name in part_names}

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


def rates_of(model, **options):
    """The rate of each parameter, by name; those that do not learn are left out."""
    groups = parameter_groups(model, OptimConfig(learning_rate=1.0, **options))
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    return {name: rates[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in rates}


def test_a_module_within_a_part_has_a_rate_of_its_own_and_the_longest_name_decides():
    model = nn.Module()
    model.part_names, model.part_prefixes = ("encoder", "projector"), {"encoder": ("encoders.",)}
    model.part_of = lambda name: "encoder" if name.startswith("encoders.") else "projector"
    model.encoders, model.projector = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), nn.Linear(2, 2)
    rates = rates_of(model, part_learning_rates={"encoders": 0.5, "encoders.1": 0.1})
    assert rates["encoders.0.weight"] == 0.5 and rates["encoders.1.weight"] == 0.1 and rates["projector.bias"] == 1.0
    rates = rates_of(model, part_learning_rates={"encoders.1": 0.1}, frozen=["encoder"])
    assert set(rates) == {"encoders.1.weight", "encoders.1.bias", "projector.weight", "projector.bias"}
    with pytest.raises(ConfigError, match="no part named `encoders.2`"):
        parameter_groups(model, OptimConfig(learning_rate=1.0, frozen=["encoders.2"]))


CLIP = {"type": "clip", "image_size": 28, "patch_size": 14, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}
CONVNEXT = {"type": "timm", "model_name": "convnext_atto", "image_size": 64}
VIT = {
    "type": "timm",
    "model_name": "vit_tiny_patch16_224",
    "image_size": 32,
    "options": {"embed_dim": 24, "depth": 3, "num_heads": 2},
}


def make_model(encoder):
    text = {"type": "causal_lm", "model_type": "llama", "vocab_size": 300, "hidden_size": 16, "intermediate_size": 32}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    processor = {"image": {"size": 64}, "tokenizer": {"type": "byte_bpe", "corpus": []}}
    architecture = {"family": "llava", "encoder": encoder, "projector": {"type": "linear"}, "processor": processor}
    return assemble_model({**architecture, "language_model": text, "image_token_id": 3})


@pytest.mark.parametrize(
    ("encoder", "num_blocks", "stem", "block", "top"),
    [
        (CLIP | {"num_layers": 3}, 3, "pre_layrnorm.weight", "layers.1.mlp.fc1.weight", "post_layernorm.weight"),
        (VIT, 3, "pos_embed", "blocks.1.attn.qkv.weight", None),
        (CONVNEXT, 12, "stem_0.weight", "stages_1.blocks.0.conv_dw.weight", None),
    ],
)
def test_rates_fall_from_block_to_block_towards_the_input(encoder, num_blocks, stem, block, top):
    model = make_model(encoder)
    rates = rates_of(model, layer_decay={"encoder": 0.5}, part_learning_rates={"encoder": 0.1})
    by_end = lambda end: next(rate for name, rate in rates.items() if name.endswith(end))  # noqa: E731
    assert by_end(stem) == pytest.approx(0.1 * 0.5 ** (num_blocks + 1))
    number = 3 if encoder is CONVNEXT else 2
    assert by_end(block) == pytest.approx(0.1 * 0.5 ** (num_blocks + 1 - number))
    if top is not None:
        assert by_end(top) == 0.1
    assert {rate for name, rate in rates.items() if not name.startswith("encoder.")} == {1.0}
    assert sorted({rate for name, rate in rates.items() if name.startswith("encoder.")})[0] == by_end(stem)


def test_what_stands_before_a_block_of_a_later_stage_goes_with_it():
    numbers, _ = layer_numbers(make_model(CONVNEXT).encoder)
    first = next(number for name, number in numbers.items() if "stages_1.blocks.0." in name)
    assert {number for name, number in numbers.items() if "stages_1.downsample." in name} == {first}


@given(decay=st.floats(0.1, 1.0), depth=st.integers(1, 5))
def test_layers_are_numbered_in_order_and_one_step_is_one_factor(decay, depth):
    network = nn.Sequential()
    network.stem = nn.Linear(2, 2)
    network.blocks = nn.ModuleList(nn.ModuleDict({"mlp": nn.Linear(2, 2)}) for _ in range(depth))
    network.head = nn.Linear(2, 2)
    numbers, last = layer_numbers(network)
    weights = [name for name in numbers if name.endswith("weight")]
    assert [numbers[name] for name in weights] == list(range(depth + 2))
    assert last == depth + 1
    model = Parts()
    model.encoder = network
    rates = rates_of(model, layer_decay={"encoder": decay})
    ordered = [rates[f"encoder.{name}"] for name in weights]
    assert ordered[-1] == 1.0
    for lower, upper in itertools.pairwise(ordered):
        assert lower == pytest.approx(upper * decay)


def test_language_models_can_decay_too_and_what_has_no_blocks_cannot():
    rates = rates_of(make_model(CLIP | {"num_layers": 1}), layer_decay={"language_model": 0.5})
    assert rates["language_model.model.embed_tokens.weight"] == 0.125
    assert rates["language_model.model.layers.1.mlp.up_proj.weight"] == 0.5
    assert rates["language_model.model.norm.weight"] == 1.0
    with pytest.raises(ConfigError, match="needs parts that are made of blocks, but `projector` has none"):
        rates_of(make_model(CLIP | {"num_layers": 1}), layer_decay={"projector": 0.5})


def test_a_decay_must_be_a_factor():
    with pytest.raises(ValueError, match="less than or equal to 1"):
        OptimConfig(learning_rate=1.0, layer_decay={"encoder": 1.5})


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_ends_where_it_should(shape):
    schedule = make_schedule(ScheduleConfig(type=shape, warmup=0.1, final=0.2), 100)
    factors = [schedule(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1.0 and max(factors) == 1.0
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(1.0 if shape == "constant" else 0.2)
