"""Laws of group-relative advantages."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives.advantages import advantages_over_siblings, check_estimator, group_advantages

ESTIMATORS = ("mean_std", "mean_std_floored", "mean", "leave_one_out")
NAN = float("nan")

sixteenths = st.integers(-64, 64).map(lambda count: count / 16)  # exact in float32, so are their sums
rewards_row = st.lists(sixteenths, min_size=2, max_size=8)
estimators = st.sampled_from(ESTIMATORS)


@given(rewards_row, estimators)
def test_advantages_have_mean_zero(row, estimator):
    assert group_advantages(torch.tensor([row]), estimator=estimator).mean().abs() < 1e-3


@given(st.floats(-1e4, 1e4, width=32), st.integers(2, 64), estimators, st.sampled_from([1e-6, 1e-4]))
def test_equal_rewards_teach_nothing(reward, num_rollouts, estimator, eps):
    assert not group_advantages(torch.full((1, num_rollouts), reward), estimator=estimator, eps=eps).any()


@given(rewards_row, sixteenths, estimators)
def test_a_constant_added_to_every_reward_changes_nothing(row, shift, estimator):
    rewards = torch.tensor([row])
    found = [group_advantages(r, estimator=estimator) for r in (rewards, rewards + shift)]
    assert torch.equal(*found)


@given(rewards_row, estimators)
def test_a_larger_reward_has_a_larger_advantage(row, estimator):
    found = group_advantages(torch.tensor([row]), estimator=estimator)[0]
    order = torch.tensor(row).argsort()
    assert (found[order].diff() >= -1e-6).all()


@given(rewards_row, st.integers(1, 4), estimators, st.randoms(use_true_random=False))
def test_neither_the_order_of_siblings_nor_empty_places_count(row, num_empty, estimator, random):
    own = torch.tensor(row)
    shuffled = [*row, *[NAN] * num_empty]
    random.shuffle(shuffled)
    found = advantages_over_siblings(own, torch.tensor([shuffled] * len(row)), estimator=estimator)
    torch.testing.assert_close(found, group_advantages(own.unsqueeze(0), estimator=estimator)[0])


def test_the_arithmetic_by_hand():
    """Two of five right: mean 0.4, deviation 0.5477; the mean of the others is 0.25 or 0.5."""
    rewards = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(
        group_advantages(rewards, eps=1e-6), torch.tensor([[1.09544, 1.09544, -0.73029, -0.73029, -0.73029]])
    )
    torch.testing.assert_close(
        group_advantages(rewards, estimator="mean"), torch.tensor([[0.6, 0.6, -0.4, -0.4, -0.4]])
    )
    torch.testing.assert_close(
        group_advantages(rewards, estimator="leave_one_out"), torch.tensor([[0.75, 0.75, -0.5, -0.5, -0.5]])
    )


def test_the_floor_holds_a_tiny_deviation_up():
    rewards = torch.tensor([[0.5, 0.5 + 2**-20]])
    plain, floored = (
        group_advantages(rewards, estimator=name, eps=1e-6).abs().max() for name in ("mean_std", "mean_std_floored")
    )
    assert plain > 0.2
    assert floored < 0.001


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_completion_without_siblings_is_refused_or_gets_its_reward(estimator):
    rewards = torch.tensor([[0.5, NAN], [1.0, 0.0]])
    with pytest.raises(ShapeError, match="at least 2 completions.*raise `num_rollouts`"):
        group_advantages(rewards, estimator=estimator)
    found = group_advantages(rewards, estimator=estimator, singleton="own_reward")
    assert found[0, 0] == pytest.approx(0.5, rel=1e-3)
    assert found[1, 0] == -found[1, 1] > 0


def test_unknown_options_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="`estimator` must be one of .* but is 'mean_sd' instead. Did you mean"):
        check_estimator("mean_sd", "refuse")
    with pytest.raises(ConfigError, match="`singleton` must be one of refuse, own_reward, but is 'zero' instead"):
        check_estimator("mean", "zero")
