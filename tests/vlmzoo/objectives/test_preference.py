"""Laws of preference learning, and options that must not be idle."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.preference_rows import LAYOUTS, rows_by_role, rows_of
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives.contrasts import CONTRASTS
from vlmzoo.objectives.preference import PreferenceObjective, preference_loss
from vlmzoo.outputs import IGNORED_LABEL, Batch, VlmOutput

sixteenths = st.integers(-64, 64).map(lambda count: count / 16)
LENGTH = 5


def make_batch(strategy="dpo", mode="single", *, num_pairs=2, seed=0, roles=None):
    """Rows of random length with random references, and the policy's log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    rows = list(rows_of(strategy, mode=mode, num_pairs=num_pairs))
    labels = torch.full((len(rows), LENGTH), IGNORED_LABEL)
    for line in labels:
        line[int(torch.randint(1, LENGTH - 1, (), generator=generator)) :] = 7
    logprobs = -torch.rand(labels.shape, generator=generator) * (labels != IGNORED_LABEL)
    reference = -LENGTH * torch.rand(len(rows), generator=generator)
    roles = roles or PreferenceObjective(strategy=strategy, mode=mode).roles
    places = rows_by_role(rows, roles, strategy=strategy)
    targets = {"rows": {role: torch.tensor(found) for role, found in places.items()}, "reference_logprobs": reference}
    return Batch(inputs={"labels": labels}, targets=targets), logprobs


def compute(objective, batch, logprobs, *, num_pairs=2):
    denominators = {"pairs": float(num_pairs), "preferred_tokens": 7.0}
    return objective(VlmOutput(logprobs=logprobs), batch, denominators)


@given(sixteenths, sixteenths, st.sampled_from(["sigmoid", "hinge"]))
def test_loss_never_rises_with_the_margin(first, second, loss):
    low, high = sorted((first, second))
    costs = preference_loss(torch.tensor([low, high]), dpo_beta=0.5, loss=loss)
    assert costs[1] <= costs[0]


@given(sixteenths)
def test_smoothing_by_almost_a_half_is_almost_symmetric(margin):
    smoothing = 0.4375
    ahead, behind = (
        preference_loss(torch.tensor(sign * margin), dpo_beta=1.0, label_smoothing=smoothing) for sign in (1, -1)
    )
    # phi(z) - phi(-z) = -(1 - 2 e) z
    assert (ahead - behind).item() == pytest.approx(-(1 - 2 * smoothing) * margin, abs=1e-5)


def test_ipo_is_least_where_its_margin_is_reached():
    assert preference_loss(torch.tensor(5.0), dpo_beta=0.1, loss="ipo") == 0


def test_policy_at_its_reference_costs_log_two():
    batch, logprobs = make_batch()
    batch.targets["reference_logprobs"].copy_(logprobs.sum(dim=1))
    made = compute(PreferenceObjective(), batch, logprobs)
    assert made.loss.item() == pytest.approx(math.log(2))
    assert made.metrics["reward_accuracy"] == 0  # nothing is ahead of anything


@pytest.mark.parametrize(("strategy", "mode"), CONTRASTS)
def test_gradient_pushes_preferred_rows_up_and_the_others_down(strategy, mode):
    batch, logprobs = make_batch(strategy, mode)
    logprobs.requires_grad_()
    compute(PreferenceObjective(strategy=strategy, mode=mode), batch, logprobs).loss.backward()
    gradients = logprobs.grad.sum(dim=1)
    better = {term.better for term in CONTRASTS[strategy, mode]}
    worse = {term.worse for term in CONTRASTS[strategy, mode]}
    rows = batch.targets["rows"]
    behind = {place for role in worse for place in rows[role].tolist()}
    ahead = {place for role in better for place in rows[role].tolist()}
    assert all(gradients[place] < 0 for place in ahead - behind)
    assert all(gradients[place] > 0 for place in behind - ahead)


@pytest.mark.parametrize(("strategy", "mode"), CONTRASTS)
def test_every_strategy_has_rows_and_every_row_a_part(strategy, mode):
    rows = list(rows_of(strategy, mode=mode, num_pairs=3))
    roles = PreferenceObjective(strategy=strategy, mode=mode).roles
    places = rows_by_role(rows, roles, strategy=strategy)
    assert {place for found in places.values() for place in found} == set(range(len(rows)))
    assert CONTRASTS.keys() == LAYOUTS.keys()


@given(st.integers(1, 4), st.sampled_from(sorted(LAYOUTS)))
def test_distinct_rows_hold_each_text_and_picture_once(num_pairs, key):
    strategy, mode = key
    rows = list(rows_of(strategy, mode=mode, num_pairs=num_pairs))
    behind = [(row.pair, row.text, row.picture) for row in rows]
    assert len(set(behind)) == len(behind)
    all_rows = rows_of(strategy, mode=mode, num_pairs=num_pairs, distinct=False)
    assert {(row.pair, row.text, row.picture) for row in all_rows} == set(behind)


@pytest.mark.parametrize("sft_normaliser", ["global_token", "sequence"])
def test_a_step_may_be_cut_between_pairs(sft_normaliser):
    objective = PreferenceObjective(
        strategy="orm",
        mode="same_batch",
        anchor=0.3,
        rejected_anchor=0.2,
        sft_weight=0.1,
        sft_normaliser=sft_normaliser,
    )
    batch, logprobs = make_batch("orm", "same_batch", num_pairs=4)
    whole = compute(objective, batch, logprobs, num_pairs=4)
    parts = [
        Batch(
            inputs=batch.inputs,
            targets={**batch.targets, "rows": {r: v[cut] for r, v in batch.targets["rows"].items()}},
        )
        for cut in (slice(0, 1), slice(1, 4))
    ]
    shares = [compute(objective, part, logprobs, num_pairs=4) for part in parts]
    assert sum(share.loss for share in shares).item() == pytest.approx(whole.loss.item(), rel=1e-6)
    for name, value in whole.metrics.items():
        assert sum(share.metrics[name] for share in shares).item() == pytest.approx(value.item(), abs=1e-6)


def test_kto_pair_of_equal_ratios_is_one_half():
    batch, logprobs = make_batch()
    batch.targets["reference_logprobs"].copy_(logprobs.sum(dim=1))
    assert compute(PreferenceObjective(loss="kto_pair"), batch, logprobs).loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"strategy": "mdop"}, "Did you mean `mdpo`"),
        ({"strategy": "dpo", "mode": "same_batch"}, "`mode` of the strategy `dpo`"),
        ({"loss": "nca"}, "`loss` must be one of"),
        ({"dpo_beta": 0.0}, "`dpo_beta` must be positive"),
        ({"label_smoothing": 0.5}, "`label_smoothing` must lie"),
        ({"label_smoothing": 0.1, "loss": "hinge"}, "`label_smoothing` must be left at its default"),
        ({"image_weight": 1.0}, "`image_weight` must be left"),
        ({"image_weight": -1.0, "strategy": "orm"}, "`image_weight` must be zero or more"),
        ({"strategy": "svco_ref", "rejected_anchor": 0.1}, "`rejected_anchor` must be left"),
        ({"reference_neg_anchor": 0.1}, "`reference_neg_anchor` must be left"),
        ({"length_normalised": True, "loss": "ipo"}, "`length_normalised` must be left"),
        ({"loss": "kto_pair", "strategy": "orm"}, "`loss` must be left"),
        ({"anchor": -0.1}, "`anchor` must be zero or more"),
        ({"sft_normaliser": "row"}, "`sft_normaliser` must be"),
    ],
)
def test_idle_or_impossible_options_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        PreferenceObjective(**options)


def test_a_row_without_targets_is_named():
    batch, logprobs = make_batch()
    batch.inputs["labels"][3] = IGNORED_LABEL
    with pytest.raises(ShapeError, match=r"rows \[3\] have none"):
        compute(PreferenceObjective(), batch, logprobs)


def test_a_batch_of_another_strategy_is_refused():
    batch, logprobs = make_batch("dpo")
    with pytest.raises(ShapeError, match="lacks"):
        compute(PreferenceObjective(strategy="orm"), batch, logprobs)


def test_references_of_another_number_of_rows_are_refused():
    batch, logprobs = make_batch()
    batch.targets["reference_logprobs"] = torch.zeros(1)
    with pytest.raises(ShapeError, match="one sum for each of the 4 rows"):
        compute(PreferenceObjective(), batch, logprobs)


def test_a_role_that_no_row_can_play_is_named():
    rows = list(rows_of("dpo", num_pairs=2))
    with pytest.raises(ShapeError, match=r"chosen\|no_image"):
        rows_by_role(rows, ["chosen|no_image"], strategy="dpo")
