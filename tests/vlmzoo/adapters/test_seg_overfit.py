"""Eight questions learned by heart, text and masks, on each kind of base; and saved, loaded and merged."""

import numpy as np
import pytest
import torch

from tests.vlmzoo.adapters.seg_samples import make_batch, make_objective, make_sample, seg_spec
from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.conversations import prompt_of
from vlmzoo.geometry import Frame, Mask, mask_iou
from vlmzoo.models.segmenting import segment_samples
from vlmzoo.zoo import load_card

BASES = ("llava-1.5-7b", "eagle-x2-llama3-8b", "qwen2.5-vl-3b")
LEAST_IOU = 0.8


def learn_by_heart(model, samples, *, num_steps):
    """Train on one batch until masks and words are known."""
    model.train()
    batch, objective = make_batch(model, samples), make_objective(model)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    for step in range(num_steps):
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * min(1.0, (num_steps - step) / (num_steps / 2))
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count())
        optimiser.zero_grad()
        loss.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


def ious(model, samples):
    """The answers to the questions of samples, and the overlap of each mask with the truth."""
    answers = segment_samples(model, [prompt_of(sample) for sample in samples], max_new_tokens=16)
    found = []
    for answer, sample in zip(answers, samples, strict=True):
        assert len(answer) == len(sample.masks), answer.text
        found += [
            mask_iou(Mask(mask.array, frame=Frame.original("one", width=28, height=28)), truth_of(truth))
            for mask, truth in zip(answer, sample.masks, strict=True)
        ]
    return answers, found


def truth_of(mask):
    return Mask(mask.array, frame=Frame.original("one", width=28, height=28))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_eight_samples_are_learned_with_their_masks_and_come_back_from_the_folder(name, tmp_path):
    torch.manual_seed(0)
    model = build_model(load_card(name).miniature(), adapters=[seg_spec(from_scratch=True)])
    samples = [make_sample(number) for number in range(8)]
    learn_by_heart(model, samples, num_steps=250)
    answers, found = ious(model, samples)
    assert [answer.text for answer in answers] == [sample.messages[1]["content"][0]["text"] for sample in samples]
    assert min(found) >= LEAST_IOU, found
    save_model(model, model.processor, tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model", dtype="float32")
    again, _ = ious(loaded, samples)
    for one, other in zip(answers, again, strict=True):
        assert one.text == other.text
        assert all(np.array_equal(a.array, b.array) for a, b in zip(one, other, strict=True))
