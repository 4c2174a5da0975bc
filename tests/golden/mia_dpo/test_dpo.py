"""MIA-DPO's loss against the authors' own: values, rewards and gradients."""

import pytest
import torch
from safetensors.torch import load_file

from vlmzoo.objectives.preference import PreferenceObjective
from vlmzoo.outputs import IGNORED_LABEL, Batch, VlmOutput

GOLDEN = ("mia_dpo", "dpo/*.json")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def token_logprobs(logits, labels):
    """At t the log-probability of ``labels[:, t]``, as models give it; 0 where there is no target."""
    scores = torch.zeros(labels.shape)
    targets = labels[:, 1:]
    found = logits[:, :-1].log_softmax(-1).gather(2, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.cat([scores[:, :1], found * (targets != IGNORED_LABEL)], dim=1)


def make_objective(params):
    return PreferenceObjective(
        dpo_beta=params["beta"],
        loss=params["loss_type"],
        label_smoothing=params["label_smoothing"],
        reference_free=params["reference_free"],
        preference_weight=params["alpha"],
        sft_weight=params["gamma"],
        length_normalised=params["average_log_prob"] and params["loss_type"] != "ipo",
    )


def run(golden):
    params, tensors = golden.content["params"], load_file(golden.path.with_suffix(".safetensors"))
    num_pairs, labels = params["B"], tensors["labels"]
    policy = tensors["policy_logits"].clone().requires_grad_()
    logprobs, reference = token_logprobs(policy, labels), token_logprobs(tensors["ref_logits"], labels)
    rows = {"chosen": torch.arange(num_pairs), "rejected": torch.arange(num_pairs, 2 * num_pairs)}
    batch = Batch(inputs={"labels": labels}, targets={"rows": rows, "reference_logprobs": reference.sum(dim=1)})
    preferred_tokens = float((labels[:num_pairs, 1:] != IGNORED_LABEL).sum())
    denominators = {"pairs": float(num_pairs), "preferred_tokens": preferred_tokens}
    made = make_objective(params)(VlmOutput(logprobs=logprobs), batch, denominators)
    made.loss.backward()
    return made, policy.grad, tensors, params


def test_loss_is_the_authors(golden):
    made, _, tensors, _ = run(golden)
    torch.testing.assert_close(made.loss.detach(), tensors["total_loss"].squeeze(), **TOLERANCE)


def test_gradient_is_the_authors(golden):
    _, gradient, tensors, _ = run(golden)
    torch.testing.assert_close(gradient, tensors["grad_policy_logits"], **TOLERANCE)


def test_terms_are_the_authors(golden):
    made, _, tensors, params = run(golden)
    expected = params["alpha"] * tensors["dpo_loss"].squeeze()
    torch.testing.assert_close(made.metrics["preference_loss"], expected, **TOLERANCE)
    if params["gamma"]:
        expected = params["gamma"] * tensors["sft_loss"].squeeze()
        torch.testing.assert_close(made.metrics["sft_loss"], expected, **TOLERANCE)


def test_rewards_are_the_authors(golden):
    made, _, tensors, _ = run(golden)
    for name, key in (("reward_chosen", "chosen_rewards"), ("reward_rejected", "rejected_rewards")):
        torch.testing.assert_close(made.metrics[name], tensors[key].mean(), **TOLERANCE)
    assert made.metrics["reward_accuracy"].item() == pytest.approx(golden.content["reward_accuracy"])
