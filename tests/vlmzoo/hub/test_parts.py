"""Parts of a model from other folders: whole or not at all."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.vlmzoo.models.conftest import TINY_ENCODERS, make_architecture, make_eagle_architecture
from vlmzoo.checkpoint import save_model
from vlmzoo.config.schema import ModelConfig, PartConfig
from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.hub.parts import load_parts
from vlmzoo.models.assembler import assemble_model
from vlmzoo.runs.models import model_of


def make(seed, architecture=None):
    torch.manual_seed(seed)
    return assemble_model(architecture or make_eagle_architecture(), dtype="float32")


def saved(model, folder):
    save_model(model, model.processor, folder)
    return str(folder)


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_encoders_come_from_one_model_and_the_rest_from_another(tmp_path):
    only_second = make(1, make_eagle_architecture(encoders=TINY_ENCODERS[1:]))
    other = make(2)
    model = make(3)
    projector = {name: tensor.clone() for name, tensor in model.projector.state_dict().items()}
    load_parts(
        model,
        {
            "encoders.1": PartConfig(path=saved(only_second, tmp_path / "one"), prefix="encoders.0."),
            "language_model": PartConfig(path=saved(other, tmp_path / "two")),
        },
    )
    assert same(model.encoders[1], only_second.encoders[0])
    assert same(model.language_model, other.language_model)
    assert not same(model.encoders[0], other.encoders[0])
    assert all(torch.equal(tensor, projector[name]) for name, tensor in model.projector.state_dict().items())


def test_a_plain_language_model_of_transformers_fills_the_part(tmp_path):
    model = make(0, make_architecture())
    source = type(model.language_model)(model.language_model.config)
    source.save_pretrained(tmp_path / "llm")
    load_parts(model, {"language_model": PartConfig(path=str(tmp_path / "llm"), prefix="")})
    assert same(model.language_model, source)


def test_a_config_names_parts(tmp_path):
    path = saved(make(1), tmp_path / "one")
    torch.manual_seed(0)
    wanted = ModelConfig(architecture=make_eagle_architecture(), parts={"encoders.0": path}, dtype="float32")
    model, _ = model_of(wanted, device="cpu")
    assert same(model.encoders[0], make(1).encoders[0])
    assert wanted.parts["encoders.0"] == PartConfig(path=path)


def test_what_is_missing_left_over_or_of_another_shape_is_named_and_nothing_is_read(tmp_path):
    path = saved(make(1), tmp_path / "one")
    file = tmp_path / "one" / "model.safetensors"
    whole = load_file(file)
    model = make(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = "projector.0.weight" if "projector.0.weight" in whole else next(n for n in whole if "projector" in n)

    def attempt(tensors, match, **options):
        save_file(tensors, file)
        with pytest.raises(CheckpointError, match=match):
            load_parts(model, {"projector": PartConfig(path=path, **options)})
        assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())

    attempt({n: t for n, t in whole.items() if n != name}, f"lacks `{name}`, so `projector` cannot be filled")
    attempt({**whole, "projector.more": torch.zeros(1)}, "has more than the part takes: `projector.more`")
    attempt({**whole, name: torch.zeros(1, 1)}, f"has tensors of another shape: `{name}`")
    attempt(whole, "lacks `nowhere", prefix="nowhere.")
    save_file({**whole, "projector.more": torch.zeros(1)}, file)
    load_parts(model, {"projector": PartConfig(path=path, ignored=["mor*"])})
    assert torch.equal(model.state_dict()[name], whole[name])
    save_file({n: t for n, t in whole.items() if n != name}, file)
    load_parts(model, {"projector": PartConfig(path=path, ignored=[name.removeprefix("projector.")])})


def test_a_part_that_the_model_lacks_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="names `encoders.2`, which the model does not have. Did you mean `encoders.[01]`"
    ):
        load_parts(make(0), {"encoders.2": PartConfig(path=str(tmp_path))})
