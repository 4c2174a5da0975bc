import copy

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.errors import DataError
from vlmzoo.evaluation.retention import token_divergence
from vlmzoo.types import Sample, assistant, user


def make_prompts(num=3):
    return [
        Sample(messages=[user(f"What is {number}?", num_images=1), assistant("?")], images=[make_picture(number)])
        for number in range(num)
    ]


def test_a_model_has_not_moved_from_itself_and_moves_by_what_was_changed():
    base = make_base("llava-llama").eval()
    assert token_divergence(base, base, make_prompts(), max_new_tokens=4).mean == pytest.approx(0, abs=1e-6)
    gaps = []
    for scale in (0.01, 0.1):
        moved = copy.deepcopy(base)
        torch.manual_seed(0)
        for parameter in moved.parameters():
            parameter.data += scale * torch.randn_like(parameter)
        gaps.append(token_divergence(moved, base, make_prompts(), max_new_tokens=4, batch_size=2).mean)
    assert 0 < gaps[0] < gaps[1]


def test_nothing_to_ask_is_refused():
    base = make_base("llava-llama")
    with pytest.raises(DataError, match="at least one prompt"):
        token_divergence(base, base, [])
