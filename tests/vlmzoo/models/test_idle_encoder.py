"""An encoder that has nothing to look at: its parameters take part, and nothing else changes."""

import pytest
import torch

from tests.vlmzoo.models.conftest import make_architecture, make_eagle_architecture
from vlmzoo import build_model
from vlmzoo.data.collation import Collator
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

CARDS = ("qwen2-vl-2b", "qwen2.5-vl-3b", "qwen3-vl-4b", "llava-1.5-7b-hf", "internvl3.5-1b")


def make_base(name):
    composed = {"llava": make_architecture, "eagle": make_eagle_architecture}
    torch.manual_seed(0)
    return build_model(composed[name]() if name in composed else load_card(name).miniature()).train()


def make_text_batch(model):
    sample = Sample(messages=[user("How many?"), assistant("Four.")], id="0")
    return Collator(pad_token_id=model.processor.padding_id)([model.processor.encode(sample)])


@pytest.mark.parametrize("name", ["llava", "eagle", *CARDS])
def test_a_batch_without_images_reaches_the_encoder_and_changes_nothing(name):
    plain, looking = make_base(name), make_base(name)
    batch = make_text_batch(plain)
    looking.always_look = True
    looking._processor = None  # as after transformers' own `from_pretrained`, under another trainer
    losses = []
    for model in (plain, looking):
        loss = model(**batch.inputs, return_logits=False).loss
        loss.backward()
        losses.append(loss.detach())
    assert torch.equal(*losses)
    seen = {model.part_of(n) for model in (looking,) for n, p in model.named_parameters() if p.grad is not None}
    unseen = {plain.part_of(n) for n, p in plain.named_parameters() if p.grad is not None}
    assert seen - unseen == {"encoder", "projector"} & set(looking.part_names)
    theirs = dict(plain.named_parameters())
    for parameter_name, parameter in looking.named_parameters():
        expected = theirs[parameter_name].grad
        if parameter.grad is not None:
            assert torch.equal(parameter.grad, torch.zeros_like(parameter) if expected is None else expected)
