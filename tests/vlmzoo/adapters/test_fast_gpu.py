"""What of the switch and search adapters needs an accelerator; run with ``pytest -m gpu``."""

import copy

import pytest
import torch

from tests.vlmzoo.adapters import search_samples, test_switch
from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.agents.locating import ModelLocator
from vlmzoo.agents.visual_search import VisualSearch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@torch.no_grad()
def test_boxes_and_heat_on_an_accelerator_are_those_of_the_cpu():
    model = make_base("llava-llama", adapters=[search_samples.search_spec()])
    batch = search_samples.make_batch(model, [search_samples.make_sample(number) for number in range(3)])
    expected = model(**batch.inputs).adapters["search"]
    found = copy.deepcopy(model).to("cuda")(**batch.to("cuda").inputs).adapters["search"]
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_short_forms_on_an_accelerator_are_those_of_the_cpu():
    model = make_base("llava-llama", adapters=[test_switch.SWITCH])
    batch = test_switch.make_batch(model, [test_switch.make_sample(number) for number in range(3)])
    expected = model(**batch.inputs).logits
    found = copy.deepcopy(model).to("cuda")(**batch.to("cuda").inputs).logits
    torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_search_runs_on_an_accelerator(dtype):
    model = make_base("llava-llama", adapters=[search_samples.search_spec()]).to("cuda", dtype)
    locator = ModelLocator(model, make_picture(0).resize((700, 500)), max_new_tokens=6)
    result = VisualSearch(max_visits=6).search(locator, locator.frame, "cup")
    assert 1 <= len(result.visits) <= 6
