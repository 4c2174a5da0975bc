"""Activations that are computed again: the same loss and gradients, in the parts that were named."""

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base, make_samples
from vlmzoo.config.schema import RunConfig
from vlmzoo.data.collation import Collator
from vlmzoo.errors import ConfigError, MemoryLimitError
from vlmzoo.runs.efficiency import checkpoint_activations, forecast_sentence


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


def make_run(model, **changes):
    values = {
        "model": model,
        "experience": {"type": "supervised", "source": {}},
        "optim": {"learning_rate": 2e-5},
        "num_steps": 1,
        "output_dir": "unused",
    }
    return RunConfig.model_validate(values | changes)


def test_running_out_of_memory_tells_what_a_step_of_this_size_needs():
    fault = MemoryLimitError("Step 1 ran out of memory.", rows=8, width=2048)
    told = forecast_sentence(make_run({"name": "llava-1.5-7b"}), fault, dtype="bfloat16", zero_stage=0)
    assert "A full step of this size needs about" in told and "GiB on each rank (weights 13.1" in told
    total, saving = (
        float(sentence.split("about ")[1].split(" GiB")[0])
        for sentence in (
            told,
            forecast_sentence(
                make_run({"name": "llava-1.5-7b"}, activation_checkpointing=["language_model"]),
                fault,
                dtype="bfloat16",
                zero_stage=0,
            ),
        )
    )
    assert saving < total
