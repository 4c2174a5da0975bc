"""The loss of Visual-RFT's trainer, its gradient and its advantages, as the authors' code computed them.

Rows of kind ``bug`` are what that code does wrong; there the test asserts what is right instead.
"""

import pytest
import torch
from safetensors.torch import load_file

from vlmzoo.blocks.language.causal_lm import logprobs_of_logits
from vlmzoo.errors import ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.advantages import group_advantages
from vlmzoo.outputs import Batch, VlmOutput

GOLDEN = ("virft", "grpo/*.json")


class Case:
    """One case of the authors' trainer, as our batch and what comes of it."""

    def __init__(self, golden):
        self.params, self.kind = golden.content["params"], golden.content["kind"]
        self.metrics = golden.content["metrics"]
        self.is_extreme = "extreme" in golden.content["name"]
        self.tensors = load_file(golden.path.with_suffix(".safetensors"))
        self.use_rewards(self.tensors["rewards_per_func"])
        self.completion_mask = self._completion_mask()

    def use_rewards(self, per_function):
        self.rewards = per_function.sum(dim=1)
        self.group_rewards = self.rewards.view(-1, self.params["G"]).repeat_interleave(self.params["G"], dim=0)

    def _completion_mask(self):
        """1 up to the first end of sequence and with it, by our rule."""
        completions = self.tensors["sequence_ids"][:, self.params["P"] :]
        is_end = completions == self.params["eos_token_id"]
        return (is_end.cumsum(dim=1) - is_end.long()) == 0

    def batch(self):
        ids, num_prompt = self.tensors["sequence_ids"].long(), self.params["P"]
        labels = torch.full_like(ids, -100)
        labels[:, num_prompt:] = ids[:, num_prompt:].masked_fill(~self.completion_mask, -100)
        reference = logprobs_of_logits(self.tensors["ref_logits"], labels)
        return Batch(
            inputs={"labels": labels},
            targets={
                "rewards": self.rewards,
                "group_rewards": self.group_rewards,
                "reference_logprobs": reference,
            },
        )

    def loss_and_gradient(self, objective):
        batch, logits = self.batch(), self.tensors["policy_logits"].clone().requires_grad_()
        counts = batch.count()
        part = objective(VlmOutput(logprobs=logprobs_of_logits(logits, batch.inputs["labels"])), batch, counts)
        part.loss.backward()
        return part, logits.grad


def test_advantages_loss_and_gradient(golden):
    case = Case(golden)
    objective = OBJECTIVES.build({"type": "grpo_virft", "kl_coef": case.params["beta"]})
    if case.params["G"] < 2:
        with pytest.raises(ShapeError, match="at least 2 completions"):
            case.loss_and_gradient(objective)
        return
    if not case.rewards.isfinite().all():
        assert not torch.isfinite(case.tensors["loss"]).all()  # theirs
        case.use_rewards(case.tensors["rewards_per_func"].nan_to_num(nan=0.0))  # ours: such a reward is 0, and counted
        part, gradient = case.loss_and_gradient(objective)
        assert part.loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.any()
        return
    if case.params["max_prompt_length"] is not None:
        # Theirs takes the prompt's last tokens for a completion; ours never cuts a prompt.
        part, _ = case.loss_and_gradient(objective)
        assert part.loss.isfinite()
        assert abs(float(part.loss.detach()) - float(case.tensors["loss"])) > 1e-6
        return
    assert torch.equal(case.completion_mask, case.tensors["completion_mask"].bool())
    close = {"rtol": 1e-4 if case.is_extreme else 1e-5, "atol": 1e-6}
    advantages = group_advantages(case.rewards.view(-1, case.params["G"])).flatten()
    torch.testing.assert_close(advantages, case.tensors["advantages"], **close)
    part, gradient = case.loss_and_gradient(objective)
    torch.testing.assert_close(part.loss.view(1), case.tensors["loss"], **close)
    torch.testing.assert_close(gradient, case.tensors["grad_policy_logits"], rtol=close["rtol"], atol=1e-6)
    assert float(part.metrics["kl_nats"]) == pytest.approx(case.metrics["kl"], rel=close["rtol"], abs=1e-6)
