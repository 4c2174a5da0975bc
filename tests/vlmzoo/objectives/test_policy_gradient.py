"""Laws of the policy gradient and of its presets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.advantages import group_advantages
from vlmzoo.objectives.divergence import kl_per_token
from vlmzoo.objectives.explaining import explain
from vlmzoo.objectives.policy_gradient import PolicyGradientObjective
from vlmzoo.outputs import Batch, VlmOutput

PRESETS = ("grpo_virft", "grpo_verl", "dr_grpo", "dapo", "gspo", "cispo")
OPTIONS = {"dr_grpo": {"max_completion_tokens": 6}}
SPLIT_FREE = ("global_token", "sequence", "sequence_sum", "constant")


def make(num_prompts=2, num_rollouts=3, width=6, seed=0, drift=0.3):
    """Completions of unequal length, behaviour and reference near the policy; garbage stands in the gaps."""
    draw = torch.Generator().manual_seed(seed)
    num = num_prompts * num_rollouts
    lengths = torch.randint(1, width, (num,), generator=draw)
    mask = torch.arange(width) < lengths.unsqueeze(1) + 1
    mask[:, 0] = False
    logprobs = -torch.rand(num, width, generator=draw)
    near = [logprobs + drift * torch.randn(num, width, generator=draw) for _ in range(2)]
    rewards = torch.randint(0, 17, (num,), generator=draw) / 16
    targets = {
        "rewards": rewards,
        "group_rewards": rewards.view(num_prompts, num_rollouts).repeat_interleave(num_rollouts, dim=0),
        "behaviour_logprobs": near[0].masked_fill(~mask, 77.0),
        "reference_logprobs": near[1].masked_fill(~mask, 1e30),
    }
    labels = torch.where(mask, 7, -100)
    return (
        logprobs.requires_grad_(),
        torch.rand(num, width, generator=draw),
        Batch(inputs={"labels": labels}, targets=targets),
    )


def part_of(batch, rows):
    pick = {name: value[rows] for name, value in batch.targets.items()}
    return Batch(inputs={"labels": batch.inputs["labels"][rows]}, targets=pick)


def loss_of(objective, logprobs, entropy, batches_and_rows):
    counts = [batch.count() for batch, _ in batches_and_rows]
    denominators = {name: sum(count[name] for count in counts) for name in counts[0]}
    return sum(
        objective(VlmOutput(logprobs=logprobs[rows], entropy=entropy[rows]), batch, denominators).loss
        for batch, rows in batches_and_rows
    )


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(1, 5), st.sampled_from(PRESETS), st.sampled_from(SPLIT_FREE))
def test_loss_and_gradient_do_not_depend_on_how_a_step_is_cut(seed, cut, preset, normaliser):
    """A group may be cut, too: every completion carries the rewards of all its siblings."""
    spec = {"type": preset, "normaliser": normaliser, "entropy_coef": 0.1, "kl_coef": 0.1}
    if normaliser == "constant":
        spec["max_completion_tokens"] = 6
    elif preset == "dr_grpo":
        spec["max_completion_tokens"] = None
    objective = OBJECTIVES.build(spec)
    logprobs, entropy, batch = make(seed=seed)
    whole, first, second = slice(None), slice(None, cut), slice(cut, None)
    found = []
    for pieces in ([whole], [first, second]):
        loss = loss_of(objective, logprobs, entropy, [(part_of(batch, rows), rows) for rows in pieces])
        found.append((loss, *torch.autograd.grad(loss, logprobs)))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][1].any()


@pytest.mark.parametrize("preset", PRESETS)
def test_what_stands_in_the_gaps_counts_for_nothing(preset):
    objective = OBJECTIVES.build({"type": preset, **OPTIONS.get(preset, {}), "kl_coef": 0.1})
    logprobs, entropy, batch = make()
    gaps = batch.inputs["labels"] == -100
    loss = loss_of(objective, logprobs, entropy, [(batch, slice(None))])
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert not gradient[gaps].any()
    for name in ("behaviour_logprobs", "reference_logprobs"):
        batch.targets[name][gaps] = -3.0
    torch.testing.assert_close(loss_of(objective, logprobs, entropy, [(batch, slice(None))]), loss, rtol=0, atol=0)


@pytest.mark.parametrize("preset", PRESETS)
def test_equal_rewards_leave_the_policy_alone_but_for_the_reference(preset):
    objective = OBJECTIVES.build({"type": preset, **OPTIONS.get(preset, {}), "kl_coef": 0.0})
    logprobs, entropy, batch = make()
    for name in ("rewards", "group_rewards"):
        batch.targets[name].fill_(2.9192)
    loss = loss_of(objective, logprobs, entropy, [(batch, slice(None))])
    assert not torch.autograd.grad(loss, logprobs)[0].any()


@pytest.mark.parametrize("preset", PRESETS)
def test_at_the_sampling_policy_the_gradient_is_the_plain_policy_gradient(preset):
    objective = OBJECTIVES.build({"type": preset, **OPTIONS.get(preset, {}), "kl_coef": 0.0})
    logprobs, entropy, batch = make(drift=0.0)
    (gradient,) = torch.autograd.grad(loss_of(objective, logprobs, entropy, [(batch, slice(None))]), logprobs)
    mask = batch.inputs["labels"] != -100
    rewards = batch.targets["rewards"].view(2, 3)
    advantages = group_advantages(rewards, estimator=objective.estimator, eps=objective.advantage_eps).view(-1, 1)
    weight = {
        "global_token": 1 / mask.sum(),
        "sequence": 1 / mask.sum(dim=1, keepdim=True) / len(mask),
        "constant": torch.tensor(1 / 6 / len(mask)),
    }[objective.normaliser]
    torch.testing.assert_close(gradient, (-advantages * weight * mask).float())


def test_the_surrogate_by_hand():
    """Ratios 1.5 and 0.5 under limits of 0.2: the gain of a good token is held at 1.2, that of a bad one at 0.8."""
    objective = PolicyGradientObjective(kl_coef=0.0, estimator="mean", dual_clip=1.25)
    logs = torch.tensor([1.5, 0.5, 1.0]).log()

    def one(ratio_log, reward):
        targets = {
            "rewards": torch.tensor([reward]),
            "group_rewards": torch.tensor([[reward, -reward]]),
            "behaviour_logprobs": torch.zeros(1, 2),
        }
        batch = Batch(inputs={"labels": torch.tensor([[-100, 7]])}, targets=targets)
        logprobs = torch.tensor([[0.0, float(ratio_log)]])
        return float(objective(VlmOutput(logprobs=logprobs), batch, batch.count()).loss)

    assert one(logs[0], 1.0) == pytest.approx(-1.2)
    assert one(logs[1], 1.0) == pytest.approx(-0.5)
    assert one(logs[1], -1.0) == pytest.approx(0.8)
    assert one(logs[0], -1.0) == pytest.approx(1.25)  # 1.5, but for the dual limit
    assert one(logs[2], -1.0) == pytest.approx(1.0)


def test_gspo_weighs_all_tokens_of_a_completion_alike():
    objective = OBJECTIVES.build({"type": "gspo", "clip_low": None, "clip_high": None})
    logprobs, entropy, batch = make(drift=0.5)
    (gradient,) = torch.autograd.grad(loss_of(objective, logprobs, entropy, [(batch, slice(None))]), logprobs)
    mask = batch.inputs["labels"] != -100
    log_ratio = ((logprobs.detach() - batch.targets["behaviour_logprobs"]) * mask).sum(1) / mask.sum(1)
    advantages = group_advantages(batch.targets["rewards"].view(2, 3)).flatten()
    expected = -(advantages * log_ratio.exp() / mask.sum(1) / len(mask)).unsqueeze(1) * mask
    torch.testing.assert_close(gradient, expected)


def test_cispo_keeps_the_gradient_of_a_token_beyond_the_limit():
    logprobs, entropy, batch = make(drift=0.0)
    batch.targets["behaviour_logprobs"] -= 3.0  # a ratio of 20
    found = {}
    for preset in ("cispo", "dapo"):
        loss = loss_of(OBJECTIVES.build({"type": preset}), logprobs, entropy, [(batch, slice(None))])
        (found[preset],) = torch.autograd.grad(loss, logprobs)
    is_good = (group_advantages(batch.targets["rewards"].view(2, 3)).flatten() > 0).unsqueeze(1)
    mask = (batch.inputs["labels"] != -100) & is_good
    assert mask.any()
    assert (found["cispo"][mask] != 0).all()
    assert not found["dapo"][mask].any()


nats = st.integers(-32, 0).map(lambda count: count / 16)


@given(nats, nats)
def test_k3_is_never_negative_and_zero_at_home(p, q):
    values = kl_per_token(torch.tensor([p]), torch.tensor([q]))
    assert values >= (-1e-6 if p != q else 0)
    assert p != q or values == 0


@given(nats, nats, st.sampled_from(["k1", "k3", "abs"]))
def test_straight_through_has_the_value_of_one_and_the_gradient_of_k2(p, q, estimator):
    found = {}
    for name in (estimator, f"{estimator}+", "k2"):
        logprobs = torch.tensor([p], requires_grad=True)
        value = kl_per_token(logprobs, torch.tensor([q]), estimator=name)
        found[name] = (value.detach(), *torch.autograd.grad(value, logprobs))
    torch.testing.assert_close(found[f"{estimator}+"][0], found[estimator][0])
    torch.testing.assert_close(found[f"{estimator}+"][1], found["k2"][1])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_estimators_are_unbiased(estimator):
    """The mean under the policy is the divergence itself, computed over a vocabulary of 5."""
    draw = torch.Generator().manual_seed(0)
    policy, reference = (torch.randn(5, generator=draw, dtype=torch.float64).log_softmax(0) for _ in range(2))
    exact = (policy.exp() * (policy - reference)).sum()
    torch.testing.assert_close((policy.exp() * kl_per_token(policy, reference, estimator=estimator)).sum(), exact)


@pytest.mark.parametrize("missing", ["behaviour_logprobs", "reference_logprobs"])
def test_what_is_missing_is_named(missing):
    logprobs, _, batch = make()
    targets = {name: value for name, value in batch.targets.items() if name != missing}
    with pytest.raises(ShapeError, match=f"`{missing}` must have the shape of `labels`, \\(6, 6\\), but has None"):
        PolicyGradientObjective()(
            VlmOutput(logprobs=logprobs), Batch(inputs=batch.inputs, targets=targets), batch.count()
        )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"clip_low": 0.0}, "`clip_low` must be positive or null, but is 0.0"),
        ({"dual_clip": 0.5}, "`dual_clip` must be above 1 or null, but is 0.5"),
        ({"kl_coef": -1.0}, "`kl_coef` must be zero or more, but is -1.0"),
        ({"normaliser": "constant"}, "`max_completion_tokens` and `normaliser: constant` belong together"),
        ({"normaliser": "global_tokens"}, "Did you mean `global_token`"),
        ({"kl_estimator": "k4"}, "`kl_estimator` must be one of"),
        ({"behaviour": "old"}, "`behaviour` must be one of sampled, current"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        OBJECTIVES.build({"type": "policy_gradient", **options})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_one_objective_and_names_its_paper(preset):
    assert isinstance(OBJECTIVES.build({"type": preset, **OPTIONS.get(preset, {})}), PolicyGradientObjective)
    assert "arXiv:" in OBJECTIVES.entry(preset).source


@pytest.mark.parametrize(
    "options",
    [
        {"type": "cispo", "dual_clip": 3.0},
        {"type": "grpo_virft", "clip_low": 0.2},
        {"type": "grpo_virft", "clip_high": 0.2},
        {"type": "grpo_virft", "ratio": "sequence"},
        {"type": "grpo_virft", "dual_clip": 3.0},
        {"type": "policy_gradient", "kl_estimator": "k1", "kl_limit": 5.0},
        {"type": "policy_gradient", "estimator": "leave_one_out", "advantage_eps": 1e-6},
        {"type": "dr_grpo", "max_completion_tokens": 8, "advantage_eps": 1e-6},
    ],
)
def test_options_without_an_effect_are_refused(options):
    name = list(options)[-1]
    with pytest.raises(ConfigError, match=f"`{name}` must be left at its default here"):
        OBJECTIVES.build(options)


def test_options_with_an_effect_are_not():
    OBJECTIVES.build({"type": "policy_gradient", "kl_estimator": "k3+", "kl_limit": 5.0, "dual_clip": 3.0})
    OBJECTIVES.build({"type": "grpo_virft", "advantage_eps": 1e-6, "log_ratio_limit": 20.0})  # the latter of the KL


def test_equal_rewards_teach_nothing_without_an_eps_either():
    objective = PolicyGradientObjective(advantage_eps=0.0)
    _, _, batch = make()
    for name in ("rewards", "group_rewards"):
        batch.targets[name].fill_(0.1)
    assert objective.advantages(batch).eq(0).all()


def test_a_batch_without_rewards_is_a_sentence():
    logprobs, _, batch = make()
    told = Batch(inputs=batch.inputs, targets={})
    with pytest.raises(ShapeError, match="`rewards` must be among the targets"):
        PolicyGradientObjective(kl_coef=0.0, behaviour="current")(VlmOutput(logprobs=logprobs), told, told.count())


@settings(deadline=None)
@given(st.integers(0, 100), st.sampled_from(PRESETS))
def test_what_is_explained_of_each_completion_adds_up_to_what_the_objective_tells(seed, preset):
    objective = OBJECTIVES.build({"type": preset, **OPTIONS.get(preset, {})})
    logprobs, _, batch = make(seed=seed, drift=1.0)
    outputs = VlmOutput(logprobs=logprobs)
    told = objective(outputs, batch, batch.count()).metrics["clip_fraction"]
    explained = explain(objective, outputs, batch).clip_fraction
    lengths = (batch.inputs["labels"] != -100).sum(dim=1)
    torch.testing.assert_close((explained * lengths).sum() / lengths.sum(), told)
