"""Rollouts as an experience: who is compared with whom, what is resumed, what is refused."""

import copy
import json
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.seg_samples import seg_spec
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._trajectories import Trajectory, leave_unjudged_out
from vlmzoo.experience.rollouts import RolloutsExperience
from vlmzoo.objectives import OBJECTIVES

HERE = "tests.vlmzoo.experience.test_rollouts"
TASK = {
    "type": "consecutive_table_readout",
    "style": "compact",
    "num_rows": 2,
    "num_cols": 3,
    "path_cells": [2, 3],
}
SOURCE = {"type": "synthetic", "task": TASK, "kinds": {"text": 1.0, "image": 1.0}}


def count_e(completion, reference):
    return completion.count("e") / 8


def same(completion, reference):
    return 0.3


def same_for_long_references(completion, reference):
    return 0.5 if reference.count(",") > 1 else count_e(completion, reference)


def make_policy(adapters=(), frozen=False):
    model = make_base("llava-llama", adapters=adapters)
    copied = copy.deepcopy(model).requires_grad_(False) if frozen else None
    return SimpleNamespace(module=model, frozen=copied, whole_weights=nullcontext)


@pytest.fixture(scope="module")
def policy():
    return make_policy(frozen=True)


def make(policy, function="count_e", **options):
    spec = {
        "type": "rollouts",
        "source": SOURCE,
        "rewards": [{"type": "python", "function": f"{HERE}:{function}", "name": "e"}],
        "num_prompts": 4,
        "num_rollouts": 3,
        "sampling": {"max_new_tokens": 6},
    }
    given = {"micro_batch_size": 2, "accumulation_steps": 3, "seed": 0, "policy": policy}
    given |= {name: options.pop(name) for name in given.keys() & options.keys()}
    return EXPERIENCES.build(spec | options, processor=policy.module.processor, **given)


def take(experience, num):
    steps = iter(experience)
    return [next(steps) for _ in range(num)]


def batches_of(steps):
    return [batch for step in steps for batch in step.micro_batches]


def rows_of(steps):
    return [
        row[mask == 1].tolist()
        for batch in batches_of(steps)
        for row, mask in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True)
    ]


def test_a_batch_serves_as_many_steps_as_it_has_sequences_for(policy):
    steps = take(make(policy), 3)
    assert [len(step.micro_batches) for step in steps] == [3, 3, 3]
    assert [step.denominators["sequences"] for step in steps] == [6.0] * 3
    assert steps[0].notes == steps[1].notes != steps[2].notes


def test_every_completion_carries_the_rewards_of_its_whole_group(policy):
    experience = make(policy)
    steps = take(experience, 2)
    for batch in batches_of(steps):
        for reward, siblings in zip(batch.targets["rewards"], batch.targets["group_rewards"], strict=True):
            assert len(siblings) == 3
            assert reward in siblings
    groups = {tuple(row) for batch in batches_of(steps) for row in batch.targets["group_rewards"].tolist()}
    assert len(groups) <= 4
    rewards = torch.cat([batch.targets["rewards"] for batch in batches_of(steps)])
    assert steps[0].notes["reward"] == pytest.approx(float(rewards.mean()))


def test_what_is_trained_is_what_was_drawn(policy):
    experience = make(policy)
    take(experience, 1)
    steps = [experience._step(experience._batch)]
    known = {tuple(one.ids): one for one in experience._batch}
    for batch in batches_of(steps):
        labels = batch.inputs["labels"]
        for row, nats in zip(labels, batch.targets["behaviour_logprobs"], strict=True):
            trajectory = known[tuple(row[row != -100].tolist())]
            assert nats[row != -100].tolist() == pytest.approx(trajectory.logprobs)
            assert not nats[row == -100].any()
            assert trajectory.reward == trajectory.text.count("e") / 8


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_ratios_of_the_first_update_are_1(policy, temperature):
    experience = make(policy, sampling={"max_new_tokens": 6, "temperature": temperature})
    objective = OBJECTIVES.build({"type": "grpo_verl", "kl_coef": 0.0, "log_ratio_limit": 1e-9})
    for step in take(experience, 2):
        for batch in step.micro_batches:
            outputs = policy.module(**batch.inputs, return_logits=False)
            mask = batch.inputs["labels"] != -100
            gap = (outputs.logprobs - batch.targets["behaviour_logprobs"])[mask]
            assert gap.abs().max() < 1e-4
            assert objective(outputs, batch, step.denominators).metrics["clip_fraction"] == 0


def test_the_reference_is_the_starting_policy(policy):
    (step,) = take(make(policy, reference="frozen_copy"), 1)
    for batch in step.micro_batches:
        mask = batch.inputs["labels"] != -100
        gap = (batch.targets["reference_logprobs"] - batch.targets["behaviour_logprobs"])[mask]
        assert gap.abs().max() < 1e-4
        assert not batch.targets["reference_logprobs"][~mask].any()


def drifted(policy, reference):
    """How far the reference is from the policy, after the LoRA has moved."""
    experience = make(policy, reference=reference)
    for name, parameter in policy.module.named_parameters():
        if ".lora_B" in name:
            parameter.data += 0.5
    (step,) = take(experience, 1)
    gaps = [
        (batch.targets["reference_logprobs"] - batch.targets["behaviour_logprobs"])[batch.inputs["labels"] != -100]
        for batch in step.micro_batches
    ]
    return torch.cat(gaps).abs().max()


def test_lora_can_be_its_own_reference_switched_off_or_as_it_began():
    for reference in ("lora_off", "frozen_lora"):
        lora = make_policy(adapters=[{"type": "lora", "rank": 2}])
        start = {name: p.detach().clone() for name, p in lora.module.named_parameters()}
        with torch.no_grad():
            for name, parameter in lora.module.named_parameters():
                if ".lora_B" in name and reference == "frozen_lora":
                    parameter += 0.1  # a LoRA that has learned something before
        began = {name: p.detach().clone() for name, p in lora.module.named_parameters()}
        assert drifted(lora, reference) > 0.05
        now = dict(lora.module.named_parameters())
        assert all(torch.equal(now[n], began[n] + 0.5 * (".lora_B" in n)) for n in start)  # nothing is left behind
        plain = make_policy(adapters=[{"type": "lora", "rank": 2}], frozen=True)
        if reference == "lora_off":  # a fresh LoRA is the base: both references agree
            found = [take(make(plain, reference=kind), 1)[0] for kind in ("lora_off", "frozen_copy")]
            for ours, theirs in zip(*(step.micro_batches for step in found), strict=True):
                torch.testing.assert_close(ours.targets["reference_logprobs"], theirs.targets["reference_logprobs"])


@pytest.mark.parametrize("num_taken", [1, 2, 3, 5])
def test_a_resumed_experience_goes_on_to_the_bit(policy, num_taken):
    options = {"num_epochs": 2, "reference": "frozen_copy"}
    experience = make(policy, **options)
    steps = iter(experience)
    for _ in range(num_taken):
        next(steps)
    state = json.loads(json.dumps(experience.state_dict()))
    later = [next(steps) for _ in range(4)]
    resumed = make(policy, **options)
    resumed.load_state_dict(state)
    for ours, theirs in zip(later, take(resumed, 4), strict=True):
        assert ours.notes == theirs.notes
        for one, other in zip(ours.micro_batches, theirs.micro_batches, strict=True):
            assert one.inputs.keys() == other.inputs.keys()
            for name in ("input_ids", "labels"):
                assert torch.equal(one.inputs[name], other.inputs[name])
            for name, value in one.targets.items():
                assert torch.equal(value, other.targets[name]), name


def test_completions_that_were_cut_before_a_restart_are_still_counted(policy):
    experience = make(policy)
    experience.engine.num_cut = 3  # as a server's engine counts
    assert take(experience, 1)[0].notes["completions_cut"] == 3.0
    state = json.loads(json.dumps(experience.state_dict()))
    for wanted in (3.0, 0.0):
        resumed = make(policy)
        resumed.load_state_dict(state)
        assert take(resumed, 1)[0].notes["completions_cut"] == wanted
        state.pop("num_cut", None)  # as older checkpoints are


def test_another_epoch_goes_through_the_same_completions_in_another_order(policy):
    first = take(make(policy, num_epochs=2, accumulation_steps=6), 2)
    assert sorted(rows_of(first[:1])) == sorted(rows_of(first[1:]))
    again = take(make(policy, num_epochs=2), 4)
    assert sorted(rows_of(again[:2])) == sorted(rows_of(again[2:]))
    assert rows_of(again[:2]) != rows_of(again[2:])


def test_groups_that_agree_are_counted_and_kept(policy):
    (step,) = take(make(policy, "same"), 1)
    assert step.notes["zero_variance"] == 1.0
    assert step.notes["reward_std"] == 0.0
    assert step.notes["prompts_drawn"] == 4.0
    assert step.notes["completions_cut"] == 0.0  # told without one, too: ranks sum the same names


def test_groups_that_agree_can_be_drawn_again(policy):
    kept = make(policy, "same_for_long_references")
    drawn_again = make(policy, "same_for_long_references", on_zero_variance="resample", max_draws=40)
    shares = [
        sum(len(set(row)) == 1 for batch in batches_of(take(e, 2)) for row in batch.targets["group_rewards"].tolist())
        for e in (kept, drawn_again)
    ]
    assert shares[0] > shares[1] == 0
    assert drawn_again._notes["prompts_drawn"] > 4.0
    (step,) = take(make(policy, "same", on_zero_variance="resample", max_draws=2), 1)
    assert step.notes["prompts_drawn"] == 8.0
    assert step.denominators["sequences"] == 6.0


def test_a_sampler_that_always_says_the_same_is_noticed(policy):
    experience = make(policy, sampling={"max_new_tokens": 2, "top_k": 1})
    with pytest.raises(DataError, match="have been the same for 20 batches.*raise `sampling.temperature`"):
        take(experience, 50)


def test_faults_of_rewards_are_in_the_journal(policy):
    experience = make(policy)
    experience.rewards._calls["e"] = lambda text, reference: float("nan")
    (step,) = take(experience, 1)
    assert step.notes["reward_faults"] == step.notes["reward_nonfinite/e"] == 12.0
    assert step.notes["reward"] == 0.0


def test_prompts_that_are_too_long_are_refused_or_passed_over_and_counted(policy):
    lengths = sorted(len(policy.module.processor.encode_prompt(p)["input_ids"]) for p in prompts())
    limit = lengths[len(lengths) // 2]
    with pytest.raises(DataError, match=f"only {limit} are allowed"):
        take(make(policy, prompts={"max_tokens": limit}), 2)
    steps = take(make(policy, prompts={"max_tokens": limit, "on_too_long": "skip"}), 6)
    assert steps[-1].notes["prompts_too_long"] > 0
    assert max(int((row["labels"] == -100).sum()) for b in batches_of(steps) for row in [b.inputs]) > 0
    with pytest.raises(DataError, match="in a row were corrupt or longer than `prompts.max_tokens`"):
        take(make(policy, prompts={"max_tokens": 2, "on_too_long": "skip"}), 1)


def prompts():
    from vlmzoo.data.conversations import prompt_of
    from vlmzoo.data.sources import SOURCES

    source = SOURCES.build(SOURCE)
    return [prompt_of(source.sample(place)) for place in range(20)]


def test_a_row_without_a_reference_is_corrupt(policy, tmp_path):
    rows = [{"messages": [{"role": "user", "content": "Say e."}, {"role": "assistant", "content": "e"}]}] * 4
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    experience = make(policy, source={"type": "trl", "path": str(path)}, prompts={"corrupt_limit": 0.001})
    with pytest.raises(DataError, match="must have a `reference`"):
        take(experience, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_rollouts": 1}, "`num_rollouts` must be at least 2, since completions are compared"),
        ({"num_prompts": 3}, "is 9, which must be a multiple of the 6 sequences of a step"),
        ({"num_epochs": 0}, "`num_epochs` must be positive, but is 0"),
        ({"on_zero_variance": "drop"}, "`on_zero_variance` must be keep or resample, but is 'drop'"),
        ({"sampling": {"max_new_tokens": 4, "temperature": 0.0}}, "`sampling.temperature` must be positive"),
        ({"sampling": {"max_tokens": 4}}, "`sampling` takes max_new_tokens, temperature, top_k and top_p"),
        ({"reference": "frozen"}, "`reference` must be one of .*Did you mean `frozen_"),
        ({"reference": "lora_off"}, "needs a model with LoRA, but this one has none; use `frozen_copy`"),
        ({"reference": "precomputed"}, "is for completions that exist beforehand"),
        ({"prompts": {"max": 3}}, "`prompts` takes max_tokens, on_too_long, corrupt_limit, balance, keep_rows"),
        ({"engine": {"type": "in_process", "batch_size": 0}}, "`batch_size` of the engine must be positive"),
    ],
)
def test_bad_options_are_refused(policy, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(policy, **options)


def test_a_frozen_copy_must_have_been_made():
    with pytest.raises(ConfigError, match="needs a frozen copy of the policy"):
        make(make_policy(), reference="frozen_copy")


PAIRS = {"type": "twin_pairs", "root": str(TINY / "twin"), "split": "all"}
BALANCED = {"source": PAIRS, "prompts": {"balance": {"classes": ["yes", "no"]}}, "num_prompts": 4}


def labels_of(experience, places):
    return [experience.prompts.prompt(place).sample.reference for place in places]


def test_batches_are_balanced_and_go_on_as_they_would_have(policy):
    whole, first, second = (make(policy, micro_batch_size=6, accumulation_steps=2, **BALANCED) for _ in range(3))
    rows = rows_of(take(whole, 6))
    for start in (0, 4, 8):
        assert sorted(labels_of(whole, range(start, start + 4))) == ["no", "no", "yes", "yes"]
    head = rows_of(take(first, 3))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert head + rows_of(take(second, 3)) == rows


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_prompts": 3, "num_rollouts": 2}, "must have a multiple of 2 rows"),
        ({"prompts": {"balance": {"classes": ["yes", "maybe"]}}}, r"\['maybe'\] has none"),
        ({"prompts": {"balance": {"class": ["yes"]}}}, "takes classes and seed"),
        ({"source": SOURCE}, "must have a source with an end"),
    ],
)
def test_balances_that_cannot_be_are_refused(policy, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(policy, micro_batch_size=2, accumulation_steps=1, **(BALANCED | options))


def test_kept_prompts_are_the_same_and_are_encoded_once(policy, monkeypatch):
    once = {**BALANCED, "prompts": {"keep_rows": 8}}
    plain = rows_of(take(make(policy, micro_batch_size=6, accumulation_steps=2, **(BALANCED | {"prompts": {}})), 5))
    kept = make(policy, micro_batch_size=6, accumulation_steps=2, **once)
    encoded = []
    encode = kept.prompts._encoded
    monkeypatch.setattr(kept.prompts, "_encoded", lambda position: encoded.append(position) or encode(position))
    assert rows_of(take(kept, 5)) == plain
    assert sorted(encoded) == list(range(8))


@pytest.mark.parametrize(
    ("spec", "objective", "says"),
    [
        ({}, {"type": "policy_gradient"}, "`objective.kl_coef` is 0.04, which needs a reference"),
        ({"reference": "none"}, {"type": "grpo_verl"}, "`kl_coef: 0`"),
        (
            {"reference": "lora_off"},
            {"type": "policy_gradient", "entropy_coef": 0.1},
            "`experience.with_entropy: true`",
        ),
    ],
)
def test_what_the_objective_weighs_and_the_rollouts_do_not_bring_is_refused_before_anything_is_drawn(
    spec, objective, says
):
    with pytest.raises(ConfigError, match=says):
        RolloutsExperience.check_objective(spec, objective)
    RolloutsExperience.check_objective({}, {"type": "policy_gradient", "kl_coef": 0.0})


def test_adapters_that_wait_for_a_token_are_refused():
    with pytest.raises(ConfigError, match=r"waits for a token, but the model has some \(\[SEG\]\)"):
        make(make_policy(adapters=[seg_spec()]))


SCENES = {"type": "icon_scenes", "canvas_px": 28, "num_rows": 12}


def judged(**judge):
    return {"source": SCENES, "rewards": [{"type": "judge", "judge": {"type": "object_f1", "noise": 3.0, **judge}}]}


def test_the_judge_of_online_preferences_is_a_reward(policy):
    experience = make(policy, **judged())
    (step,) = take(experience, 1)
    rewards = [one.reward for one in experience._batch]
    assert len(set(rewards)) > 1 and all(0.0 <= reward <= 1.0 for reward in rewards)
    assert (
        step.notes["rewards/judge"] == pytest.approx(sum(rewards) / len(rewards)) and step.notes["reward_faults"] == 0
    )
    assert experience.told_of(experience._batch[0].place, 0)["answer"].startswith("a ")


def test_completions_that_nobody_could_judge_teach_nothing_and_are_counted(policy):
    experience = make(policy, **judged(invalid=0.5))
    (step,) = take(experience, 1)
    assert 0 < step.notes["reward_unjudged/judge"] < 12
    objective = OBJECTIVES.build({"type": "policy_gradient", "kl_coef": 0.0})
    with torch.no_grad():
        for batch in step.micro_batches:
            outputs = policy.module.eval()(**batch.inputs, return_logits=False)
            assert torch.isfinite(objective(outputs, batch, dict(step.denominators)).loss)
    silent = make(policy, **judged(invalid=1.0))
    (step,) = take(silent, 1)
    assert step.notes["zero_variance"] == 1.0 and step.notes["reward_unjudged/judge"] == 12


def test_a_completion_without_a_score_has_the_mean_of_its_siblings():
    group = [
        Trajectory(
            place=0, ids=[1], logprobs=[0.0], text="", is_finished=True, reward=r, values={"j": r}, group_rewards=[]
        )
        for r in (0.7, math.nan, 0.7, 0.7)
    ]
    leave_unjudged_out(group)
    assert [one.reward for one in group] == [one.values["j"] for one in group] == [0.7] * 4
    group[1].reward, group[0].reward = math.nan, 0.1
    leave_unjudged_out(group)
    assert group[1].reward == pytest.approx(0.5)
