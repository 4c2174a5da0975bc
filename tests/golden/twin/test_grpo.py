"""verl's arithmetic, which TWIN trains with: advantages, losses, divergences and gradients."""

import pytest
import torch
from safetensors.torch import load_file

from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.advantages import advantages_over_siblings
from vlmzoo.objectives.divergence import kl_per_token
from vlmzoo.outputs import Batch, VlmOutput

GOLDEN = ("twin", "grpo/*.json")

ESTIMATORS = {("grpo", True): "mean_std", ("grpo", False): "mean", ("grpo_vectorized", True): "mean_std_floored"}
NORMALISERS = {
    "token-mean": "micro_token",
    "seq-mean-token-mean": "sequence",
    "seq-mean-token-sum": "sequence_sum",
    "seq-mean-token-sum-norm": "constant",
}
KL = {"kl": "k1", "mse": "k2", "low_var_kl": "k3"}


class Case:
    def __init__(self, golden):
        self.settings = golden.content["settings"]
        self.columns = golden.content["per_micro_columns"]
        tensors = load_file(golden.path.with_suffix(".safetensors"))
        self.given = {name[3:]: value for name, value in tensors.items() if name.startswith("in.")}
        self.found = {name[4:]: value for name, value in tensors.items() if name.startswith("out.")}
        self.mask = self.given["response_mask"].bool()
        self.rewards = (self.given["token_level_rewards"] * self.mask).sum(dim=1)
        self.close = {"rtol": 1e-4 if "extreme" in golden.path.stem else 1e-5, "atol": 1e-6}

    @property
    def kl_estimator(self):
        name = self.settings["kl_type"]
        return KL.get(name.rstrip("+"), name.rstrip("+")) + ("+" if name.endswith("+") else "")

    def group_rewards(self):
        ids = self.given["group_id"].tolist()
        width = max(ids.count(one) for one in ids)
        rows = [[float(r) for r, other in zip(self.rewards, ids, strict=True) if other == own] for own in ids]
        return torch.tensor([row + [float("nan")] * (width - len(row)) for row in rows])

    def estimator(self):
        settings = self.settings
        return {
            "estimator": ESTIMATORS[settings["adv_estimator"], settings["norm_adv_by_std"]],
            "eps": settings["epsilon"],
            "singleton": "own_reward",
        }

    def objective(self):
        settings = self.settings
        normaliser = NORMALISERS[settings["loss_agg_mode"]]
        estimator = self.estimator()["estimator"]
        limits = {
            "clip_low": settings["clip_ratio_low"],
            "clip_high": settings["clip_ratio_high"],
            "dual_clip": settings["clip_ratio_c"],
        }
        constant = {"max_completion_tokens": self.mask.shape[1]} if normaliser == "constant" else {}
        return OBJECTIVES.build(
            {
                "type": "grpo_verl",
                "estimator": estimator,
                **({"advantage_eps": settings["epsilon"]} if estimator.startswith("mean_std") else {}),
                "behaviour": "current" if settings["on_policy"] else "sampled",
                **({} if settings["on_policy"] else limits),
                "kl_estimator": self.kl_estimator,
                "kl_coef": settings["kl_coef"],
                "entropy_coef": settings["entropy_coef"],
                "normaliser": normaliser,
                **constant,
            }
        )

    def micro_batches(self, logprobs, entropy):
        """Pairs of outputs and batch, each with a first column before which nothing stands."""
        size = self.settings["micro_batch_size"] or len(self.mask)
        pad = torch.nn.functional.pad
        group_rewards = self.group_rewards()
        for start in range(0, len(self.mask), size):
            rows = slice(start, start + size)
            labels = pad(torch.where(self.mask[rows], 7, -100), (1, 0), value=-100)
            targets = {
                "rewards": self.rewards[rows],
                "group_rewards": group_rewards[rows],
                "behaviour_logprobs": pad(self.given["old_log_prob"][rows], (1, 0)),
                "reference_logprobs": pad(self.given["ref_log_prob"][rows], (1, 0)),
            }
            outputs = VlmOutput(logprobs=pad(logprobs[rows], (1, 0)), entropy=pad(entropy[rows], (1, 0)))
            yield outputs, Batch(inputs={"labels": labels}, targets=targets)


def test_advantages(golden):
    case = Case(golden)
    found = advantages_over_siblings(case.rewards, case.group_rewards(), **case.estimator())
    torch.testing.assert_close(found.unsqueeze(1) * case.mask, case.found["advantages"], **case.close)


def test_divergence(golden):
    case = Case(golden)
    found = kl_per_token(
        case.given["log_prob"],
        case.given["ref_log_prob"],
        estimator=case.kl_estimator,
        log_ratio_limit=20.0,
        limit=10.0,
    )
    valid = case.mask
    torch.testing.assert_close(found[valid], case.found["kl_matrix"][valid], **case.close)


def test_loss_and_gradients(golden):
    case = Case(golden)
    logprobs = case.given["log_prob"].clone().requires_grad_()
    entropy = case.given["entropy"].clone().requires_grad_()
    micro_batches = list(case.micro_batches(logprobs, entropy))
    counts = [batch.count() for _, batch in micro_batches]
    denominators = {name: sum(count[name] for count in counts) for name in counts[0]}
    objective = case.objective()
    parts = [objective(outputs, batch, denominators) for outputs, batch in micro_batches]
    loss = sum(part.loss for part in parts)
    loss.backward()
    # This version of verl forgets to divide Dr. GRPO's sum by the number of completions; later ones do.
    scale = len(case.mask) if case.settings["loss_agg_mode"] == "seq-mean-token-sum-norm" else 1
    torch.testing.assert_close(loss.detach().view(1) * scale, case.found["loss"], **case.close)
    torch.testing.assert_close(logprobs.grad * scale, case.found["grad_log_prob"], **case.close)
    if case.settings["entropy_coef"]:
        torch.testing.assert_close(entropy.grad * scale, case.found["grad_entropy"], **case.close)
    if len(parts) == 1:
        expected = dict(zip(case.columns, case.found["per_micro"][0].tolist(), strict=True))
        for ours, theirs, factor in (
            ("policy_loss", "pg_loss", scale),
            ("kl_nats", "kl_loss", scale),
            ("entropy_nats", "entropy_loss", scale),
            ("clip_fraction", "pg_clipfrac", 1),
            ("dual_clip_fraction", "pg_clipfrac_lower", 1),
            ("drift_nats", "ppo_kl", 1),
        ):
            found = float(parts[0].metrics[ours]) * factor
            if theirs != "kl_loss" or case.settings["kl_coef"]:
                assert found == pytest.approx(expected[theirs], rel=case.close["rtol"], abs=1e-6), ours
