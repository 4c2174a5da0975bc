"""The agent on an accelerator; not run anywhere yet (docs/results/gpu.md)."""

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.search_samples import search_spec
from tests.vlmzoo.adapters.test_switch import SWITCH
from tests.vlmzoo.agents.test_fast_slow import make_scene

pytestmark = pytest.mark.gpu


def make_model(device, dtype):
    return make_base("llava-llama", adapters=[SWITCH, search_spec(cache_size=8)]).to(device, dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_agent_answers_on_an_accelerator(dtype):
    model = make_model("cuda", dtype)
    answer = model.answer(make_scene(), "What colour is the star?", options=["red", "blue"], decide="slow")
    assert answer.option in (0, 1) and answer.trace.cost.lm_tokens > 0


def test_options_are_scored_on_an_accelerator_as_on_the_cpu():
    losses = []
    for device in ("cpu", "cuda"):
        model = make_model(device, torch.float32)
        answer = model.answer(make_scene(), "What colour is the star?", options=["red", "blue"], decide="fast")
        losses.append(answer.trace.steps[-1].detail["losses_nats"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
