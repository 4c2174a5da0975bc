"""Gradient alignment against exact numbers of a softmax regression, the true changes of its loss among them."""

import pytest
import torch
from torch.nn import Linear
from torch.nn.functional import cross_entropy

from vlmzoo.evaluation.gradient_alignment import align_gradients, choose_parameters, example_gradients

GOLDEN = ("s2h", "gradient_alignment*.json")
NAMES = {
    "mean_inner_simple_hard": "mean_inner_simple_hard",
    "mean_inner_hard_hard": "mean_inner_hard_hard",
    "mean_inner_hard_hard_offdiag": "mean_inner_hard_hard_offdiag",
    "alignment_score": "score",
    "alignment_score_offdiag": "score_offdiag",
    "cosine_of_means": "cosine_of_means",
    "mean_pairwise_cosine": "mean_pairwise_cosine",
    "norm_mean_simple": "norm_mean_simple",
    "norm_mean_hard": "norm_mean_hard",
}


def cases_of(content):
    return content.get("cases", [content])


def make_model(case):
    weight, bias = (torch.tensor(case[name], dtype=torch.float64) for name in ("W", "b"))
    model = Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(weight)
        model.bias.copy_(bias)
    return model


def data_of(case, level):
    return torch.tensor(case[f"x_{level}"], dtype=torch.float64), torch.tensor(case[f"y_{level}"])


def gradients_of(model, case, level):
    losses = [
        lambda x=x, y=y: cross_entropy(model(x[None]), y[None]) for x, y in zip(*data_of(case, level), strict=True)
    ]
    return torch.stack(list(example_gradients(losses, choose_parameters(model))))


def test_gradients_and_figures_are_the_exact_ones(golden):
    tolerance = golden.content.get("tolerance", 1e-9)
    for case in cases_of(golden.content):
        model = make_model(case)
        gradients = {level: gradients_of(model, case, level) for level in ("simple", "hard")}
        for level, found in gradients.items():
            expected = torch.tensor(case[f"per_example_grads_{level}"], dtype=torch.float64)
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=1e-12)
        figures = align_gradients(gradients["simple"], gradients["hard"]).to_dict()
        for theirs, ours in NAMES.items():
            assert figures[ours] == pytest.approx(case["results"][theirs], rel=tolerance), theirs


def test_small_steps_change_the_hard_loss_as_the_score_says(golden):
    for case in cases_of(golden.content):
        results = case["results"]
        ratio = results["ratio_of_loss_changes"]
        model = make_model(case)
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        x, y = data_of(case, "hard")
        before = float(cross_entropy(model(x), y).detach())
        assert before == pytest.approx(results["hard_loss"], abs=1e-12)
        changes = {}
        for level in ("simple", "hard"):
            step = 1e-4 * gradients_of(model, case, level).mean(dim=0)
            with torch.no_grad():
                model.weight.copy_(start["weight"] - step[: start["weight"].numel()].reshape_as(start["weight"]))
                model.bias.copy_(start["bias"] - step[start["weight"].numel() :])
                changes[level] = float(cross_entropy(model(x), y)) - before
                model.weight.copy_(start["weight"])
                model.bias.copy_(start["bias"])
            assert changes[level] == pytest.approx(results[f"hard_loss_change_{level}_step_eta1e-4"], abs=1e-12)
        assert changes["simple"] / changes["hard"] == pytest.approx(ratio, rel=1e-6)
        score = align_gradients(*(gradients_of(model, case, level) for level in ("simple", "hard"))).score
        assert ratio == pytest.approx(score, rel=1e-3)
