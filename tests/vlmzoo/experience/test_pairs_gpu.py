"""Preferences on an accelerator; never run where there is none."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.data.mia.building import MiaBuilder, MiaPlan
from vlmzoo.data.sources.shape_cards import ShapeCardsSource
from vlmzoo.experience import EXPERIENCES
from vlmzoo.models.watched_answers import answer_watched
from vlmzoo.objectives.preference import PreferenceObjective

pytestmark = pytest.mark.gpu
CARDS = {"type": "shape_cards", "layouts": {"sequence": 1.0}, "rejected": True, "card_px": 28}


@pytest.mark.parametrize("reference", ["lora_off", "frozen_lora", "frozen_copy"])
def test_pairs_cost_the_same_on_both_devices(reference):
    losses = []
    for device in ("cpu", "cuda"):
        model = make_base("llava-llama", adapters=[{"type": "lora", "rank": 2}])
        processor, model = model.processor, model.to(device)
        frozen = copy.deepcopy(model).requires_grad_(False)
        policy = SimpleNamespace(module=model, frozen=frozen, whole_weights=nullcontext)
        spec = {"type": "pairs", "source": CARDS, "reference": reference}
        experience = EXPERIENCES.build(spec, processor=processor, micro_batch_size=4, seed=0, policy=policy)
        steps = iter(experience)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_B" in name:
                    parameter.fill_(0.05)
        step = next(steps)
        batch = step.micro_batches[0].to(device)
        outputs = model.eval()(**batch.inputs, return_logits=False)
        losses.append(PreferenceObjective()(outputs, batch, step.denominators).loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_answers_are_watched_on_the_accelerator():
    plan = MiaPlan(layouts={"sequence": {2: 2}, "grid": {2: 2}}, tile_px=28, margin_px=4)
    builder = MiaBuilder(ShapeCardsSource(num_rows=20, card_px=28), plan)
    items = [builder.item(number) for number in range(4)]
    shares = []
    for device in ("cpu", "cuda"):
        model = make_base("llava-llama")
        processor, model = model.processor, model.to(device)
        answers = answer_watched(model, processor, items, max_new_tokens=2, include_prompt=True)
        shares.append([answer.ratio for answer in answers])
    assert shares[0] == pytest.approx(shares[1], abs=1e-3)
