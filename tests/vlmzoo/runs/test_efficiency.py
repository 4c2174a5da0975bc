"""Activations that are computed again: the same loss and gradients, in the parts that were named."""

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base, make_samples
from vlmzoo.data.collation import Collator
from vlmzoo.errors import ConfigError
from vlmzoo.runs.efficiency import checkpoint_activations


def gradients(model, batch):
    model.train()
    loss = model(**batch.inputs, return_logits=False).loss
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["llava-llama", "eagle", "qwen2.5-vl"])
@pytest.mark.parametrize("parts", [["language_model"], ["encoder", "language_model"]], ids="+".join)
def test_activations_computed_again_change_nothing(name, parts):
    plain, saving = make_base(name), make_base(name)
    number = checkpoint_activations(saving, parts)
    assert number > 0
    marked = {saving.part_of(f"{n}.") for n, m in saving.named_modules() if getattr(m, "gradient_checkpointing", False)}
    assert marked == set(parts)
    batch = Collator(pad_token_id=plain.processor.padding_id)([plain.processor.encode(s) for s in make_samples(2)])
    (loss, expected), (other, found) = gradients(plain, batch), gradients(saving, batch)
    torch.testing.assert_close(loss, other)
    assert expected.keys() == found.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], atol=1e-6, rtol=1e-5, msg=key)


def test_unknown_parts_and_parts_without_blocks_are_refused():
    model = make_base("llava-llama")
    with pytest.raises(ConfigError, match="the part `languge_model`, which the model does not have. Did you mean"):
        checkpoint_activations(model, ["languge_model"])
    with pytest.raises(ConfigError, match="Part `projector` has no blocks"):
        checkpoint_activations(model, ["projector"])
    assert checkpoint_activations(model, []) == 0
