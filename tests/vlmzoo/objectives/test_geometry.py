"""Laws of the losses of masks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.geometry import mask_bce, mask_dice
from vlmzoo.outputs import IGNORED_PIXEL, Batch, VlmOutput

BOTH = ("mask_bce", "mask_dice")
sizes_of_masks = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=0, max_size=4)
seeds = st.integers(0, 10_000)


def make(sizes, seed=0, num_rows=2):
    """Random logits and targets for masks of these sizes."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(height * width for height, width in sizes)
    logits = torch.randn(total, generator=generator, dtype=torch.float64) * 3
    targets = torch.randint(0, 2, (total,), generator=generator, dtype=torch.uint8)
    outputs = VlmOutput(adapters={"seg": {"mask_logits": logits.requires_grad_()}})
    batch = Batch(
        inputs={"labels": torch.zeros(num_rows, 3, dtype=torch.long)},
        targets={"masks": targets, "mask_sizes": torch.tensor(sizes).reshape(-1, 2)},
        counts={"masks": float(len(sizes))},
    )
    return outputs, batch


@pytest.mark.parametrize("name", BOTH)
@given(sizes=sizes_of_masks, more=sizes_of_masks, seed=seeds)
def test_the_loss_does_not_depend_on_how_a_step_is_cut(name, sizes, more, seed):
    objective = OBJECTIVES.build({"type": name})
    whole = make([*sizes, *more], seed)
    cut = sum(height * width for height, width in sizes)
    pieces = [make(sizes), make(more)]
    for (outputs, batch), place in zip(pieces, (slice(cut), slice(cut, None)), strict=True):
        outputs.adapters["seg"]["mask_logits"] = whole[0].adapters["seg"]["mask_logits"][place]
        batch.targets["masks"] = whole[1].targets["masks"][place]
    denominators = whole[1].count()
    parts = [objective(outputs, batch, denominators).loss for outputs, batch in pieces]
    torch.testing.assert_close(sum(parts), objective(*whole, denominators).loss)


@given(size=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=seeds)
def test_ignored_pixels_count_for_nothing(size, seed):
    outputs, batch = make([size], seed)
    logits, targets = outputs.adapters["seg"]["mask_logits"].detach(), batch.targets["masks"]
    is_ignored = torch.rand(len(targets), generator=torch.Generator().manual_seed(seed)) < 0.5
    masked = torch.where(is_ignored, torch.tensor(IGNORED_PIXEL, dtype=torch.uint8), targets)
    for loss in (mask_bce, mask_dice):
        expected = loss(logits[~is_ignored], targets[~is_ignored])
        torch.testing.assert_close(loss(logits, masked), expected, atol=1e-9, rtol=1e-9)


@given(size=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=seeds)
def test_dice_is_between_zero_and_one_and_zero_for_the_truth(size, seed):
    outputs, batch = make([size], seed)
    logits, targets = outputs.adapters["seg"]["mask_logits"].detach(), batch.targets["masks"]
    for reduction in ("reference", "plain"):
        assert 0.0 <= mask_dice(logits, targets, reduction=reduction) <= 1.0
        perfect = (targets.double() * 2 - 1) * 1000.0
        torch.testing.assert_close(mask_dice(perfect, targets, reduction=reduction), torch.tensor(0.0).double())


def test_the_arithmetic_by_hand():
    """Logits of 0 are p = 1/2: BCE is ln 2; with 1 of 2 pixels true, plain Dice is 1 - (1 + 1) / (1 + 1 + 1)."""
    logits, targets = torch.zeros(2), torch.tensor([1, 0], dtype=torch.uint8)
    torch.testing.assert_close(mask_bce(logits, targets), torch.tensor(2.0).log())
    torch.testing.assert_close(mask_dice(logits, targets, reduction="plain"), torch.tensor(1 / 3))
    torch.testing.assert_close(mask_dice(logits, targets), torch.tensor(1 - (1 + 1e-3) / (2 + 1e-3)))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("normaliser", ["global", "micro_batch"])
def test_a_batch_without_masks_costs_nothing_and_has_a_graph(name, normaliser):
    outputs, batch = make([])
    weight = torch.ones(3, requires_grad=True)
    outputs.adapters["seg"]["mask_logits"] = weight[:0]
    loss = OBJECTIVES.build({"type": name, "normaliser": normaliser})(outputs, batch, batch.count()).loss
    assert loss == 0
    loss.backward()
    assert torch.equal(weight.grad, torch.zeros(3))


def test_bad_options_and_outputs_are_refused():
    with pytest.raises(ConfigError, match="must be global or micro_batch, but is 'rows'"):
        OBJECTIVES.build({"type": "mask_bce", "normaliser": "rows"})
    with pytest.raises(ConfigError, match="must be reference or plain, but is 'sum'"):
        OBJECTIVES.build({"type": "mask_dice", "reduction": "sum"})
    outputs, batch = make([(2, 2)])
    with pytest.raises(ShapeError, match="Exactly one adapter must have made `mask_logits`, but none did"):
        OBJECTIVES.build({"type": "mask_bce", "adapter": "other"})(outputs, batch, batch.count())
    outputs.adapters["seg"]["mask_logits"] = torch.zeros(3)
    with pytest.raises(ShapeError, match=r"1 masks must have 4 pixels .* but there are \(3,\)"):
        OBJECTIVES.build({"type": "mask_bce"})(outputs, batch, batch.count())
