"""OViP's GRPO update with its per-token divergence, value and gradient."""

import pytest
import torch
from safetensors.torch import load_file

from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import IGNORED_LABEL, Batch, VlmOutput

GOLDEN = ("ovip", "losses.jsonl")
OPTIONS = {"type": "grpo_virft", "singleton": "own_reward", "advantage_eps": 0.0}  # advantages as they are given


def tensor_of(golden, name):
    return load_file(golden.path.with_suffix(".safetensors"))[f"{golden.content['id']}.{name}"]


def token_logprobs(logits, labels):
    shifted = logits[:, :-1].float().log_softmax(dim=-1)
    targets = labels[:, 1:]
    picked = shifted.gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
    return torch.nn.functional.pad(picked * (targets != IGNORED_LABEL), (1, 0))


@pytest.mark.golden_cases(where=lambda content: content["config"]["strategy"] == "grpo-update")
def test_value_and_gradient(golden):
    content = golden.content
    labels, advantages = tensor_of(golden, "labels"), tensor_of(golden, "advantages")
    logits = tensor_of(golden, "policy_logits").requires_grad_()
    logprobs = token_logprobs(logits, labels)
    reference = token_logprobs(tensor_of(golden, "ref_logits"), labels)
    objective = OBJECTIVES.build(OPTIONS | {"kl_coef": content["config"]["beta"]})
    targets = {"rewards": advantages, "group_rewards": advantages.unsqueeze(1), "reference_logprobs": reference}
    batch = Batch(inputs={"labels": labels}, targets=targets)
    made = objective(VlmOutput(logprobs=logprobs), batch, {"sequences": float(len(labels)), "tokens": 1.0})
    made.loss.backward()
    assert float(made.loss.detach()) == pytest.approx(content["loss"], rel=1e-5, abs=1e-6)
    expected = tensor_of(golden, "grad_policy_logits")
    assert (logits.grad - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
