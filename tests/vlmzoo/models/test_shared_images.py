"""An image that several rows show is encoded once, on every base, and nothing else changes."""

import pytest
import torch

from tests.vlmzoo.adapters.bases import BASES, make_base, make_picture
from vlmzoo import build_model
from vlmzoo.data.collation import Collator
from vlmzoo.errors import ShapeError
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

NATIVE = ("qwen3-vl-4b", "llava-1.5-7b-hf", "internvl3.5-1b")


def make_inputs(model, numbers):
    """Rows that show pictures by number; the same batch with each picture once."""
    samples = [
        Sample(
            messages=[user(f"Which, {row}?", num_images=len(shown)), assistant("This one.")],
            images=[make_picture(number) for number in shown],
            id=str(row),
        )
        for row, shown in enumerate(numbers)
    ]
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id)
    repeated = dict(collate([processor.encode(sample) for sample in samples]).inputs)
    flat = [number for shown in numbers for number in shown]
    order = sorted(set(flat))
    once = processor.encode_images([make_picture(number) for number in order])
    pictures = {name: once[name] for name in ("pixel_values", "image_grid_thw") if name in once}
    return repeated, {**repeated, **pictures, "image_index": torch.tensor([order.index(number) for number in flat])}


def check(model):
    model.eval()
    repeated, shared = make_inputs(model, [(3,), (5,), (3,), (5, 3)])
    assert shared["pixel_values"].shape[0] < repeated["pixel_values"].shape[0]
    results = []
    for inputs in (repeated, shared):
        model.zero_grad()
        outputs = model(**inputs)
        outputs.loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((outputs.logprobs, gradients))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-4)
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", BASES)
def test_rows_that_share_images_give_the_same_outputs_and_gradients(name):
    check(make_base(name))


@pytest.mark.parametrize("name", NATIVE)
def test_other_native_bases_share_images_too(name):
    torch.manual_seed(0)
    check(build_model(load_card(name).miniature()))


@pytest.mark.parametrize("name", ["llava-llama", "qwen2.5-vl"])
def test_an_index_without_images_is_refused(name):
    model = make_base(name)
    _, shared = make_inputs(model, [(1,)])
    shared["pixel_values"] = None
    with pytest.raises(ShapeError):
        model(**shared)
