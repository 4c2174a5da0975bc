"""What needs an accelerator; run with ``pytest -m gpu`` on a machine that has one."""

import pytest
import torch

from tests.vlmzoo.models.conftest import make_architecture
from tests.vlmzoo.models.test_eagle import make_x5
from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.models.assembler import choose_dtype

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def make_inputs(model):
    ids = torch.tensor([[1, *[model.config.image_token_id] * 4, 5, 6]], device="cuda")
    return {"input_ids": ids, "pixel_values": torch.ones(1, 3, 28, 28, device="cuda")}


def test_auto_is_bfloat16_where_the_accelerator_has_it():
    assert choose_dtype("auto", "cuda") is (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32)


@torch.no_grad()
def test_the_same_weights_say_the_same_on_both_devices():
    torch.manual_seed(0)
    model = build_model(make_architecture())
    inputs = make_inputs(model)
    there = model.to("cuda")(**inputs).logits.cpu()
    here = model.to("cpu")(**{name: value.cpu() for name, value in inputs.items()}).logits
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "flash_attention_2"])
def test_attention_on_the_accelerator_is_finite_and_learns(attention):
    if attention == "flash_attention_2":
        pytest.importorskip("flash_attn")
    model = build_model(make_architecture(), device="cuda", dtype="bfloat16", attn_implementation=attention).train()
    inputs = make_inputs(model)
    loss = model(**inputs, labels=inputs["input_ids"].masked_fill(inputs["input_ids"] > 100, -100)).loss
    loss.backward()
    assert loss.isfinite() and any(p.grad is not None for p in model.parameters())


def test_a_folder_is_loaded_onto_the_accelerator(tmp_path):
    model = build_model(make_architecture())
    loaded, _ = load_model(save_model(model, model.processor, tmp_path / "model"), device="cuda")
    assert loaded.device.type == "cuda"


@torch.no_grad()
def test_five_encoders_see_the_same_on_both_devices():
    model = make_x5()
    pixels = torch.randn(2, 3, *model.image_size)
    here = model.image_features(pixels)
    there = model.to("cuda").image_features(pixels.to("cuda")).cpu()
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)
