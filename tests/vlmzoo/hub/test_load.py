"""Adapters that a folder's model cannot take are refused before its weights are read."""

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.seg_samples import seg_spec
from vlmzoo import load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.errors import ConfigError, RegistryError


@pytest.fixture(scope="module", params=["llava-llama", "qwen2.5-vl"])
def folder(request, tmp_path_factory):
    """A folder whose weights cannot be read, so that nobody who reads them goes on."""
    model = make_base(request.param, adapters=["roi", seg_spec(), {"type": "lora", "rank": 2}])
    folder = save_model(model, model.processor, tmp_path_factory.mktemp("model") / "final")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("adapters", "error", "sentence"),
    [
        (["segment"], RegistryError, "`segment`"),
        ([{"type": "seg", "decoder": "sam-vit-x", "name": "other"}], RegistryError, "`sam-vit-x`"),
        (["roi"], ConfigError, "This model already has an adapter called `roi`; give the new one a `name`."),
        ([seg_spec(name="other")], ConfigError, "both add the token `[SEG]`"),
        ([{"type": "lora", "name": "other"}], ConfigError, "A model holds one `lora`"),
    ],
)
def test_adapters_that_cannot_be_attached_are_refused_before_weights_are_read(folder, adapters, error, sentence):
    with pytest.raises(error) as caught:
        load_model(folder, adapters=adapters)
    assert sentence in str(caught.value)


def test_adapters_of_a_folder_and_new_ones_come_together(tmp_path):
    model = make_base("llava-llama", adapters=["roi"])
    folder = save_model(model, model.processor, tmp_path / "final")
    loaded, _ = load_model(folder, adapters=[{"type": "lora", "rank": 2}])
    assert list(loaded.adapter_specs) == ["roi", "lora"]
    assert all(
        torch.equal(loaded.state_dict()[name], tensor)
        for name, tensor in model.adapters.state_dict(prefix="adapters.").items()
    )
