"""Laws of the losses of boxes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.geometry import Box, Frame, giou
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.detection import focal_loss, match_boxes, paired_giou
from vlmzoo.outputs import Batch, VlmOutput

CELLS = 6
sixteenths = st.integers(1, 15).map(lambda number: number / 16)
boxes = st.tuples(sixteenths, sixteenths, sixteenths, sixteenths)
counts = st.lists(st.integers(-1, 3), max_size=4)  # boxes of each token; -1 where nobody drew any


def make(nums, seed=0):
    """Random scores and boxes for tokens with so many true boxes."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(nums), CELLS, generator=generator, dtype=torch.float64)
    found = torch.rand(len(nums), CELLS, 4, generator=generator, dtype=torch.float64)
    truth = torch.rand(sum(max(num, 0) for num in nums), 4, generator=generator, dtype=torch.float64)
    return piece(logits.requires_grad_(), found.requires_grad_(), truth, nums)


def piece(logits, found, truth, nums):
    outputs = VlmOutput(adapters={"search": {"box_logits": logits, "boxes": found}})
    targets = {
        "boxes": truth,
        "num_boxes": torch.tensor([max(num, 0) for num in nums], dtype=torch.long),
        "is_boxed": torch.tensor([num >= 0 for num in nums], dtype=torch.bool),
    }
    labels = torch.zeros(len(nums), 3, dtype=torch.long)
    return outputs, Batch(inputs={"labels": labels}, targets=targets, counts={"boxes": float(len(truth))})


@given(box=boxes, other=boxes)
def test_giou_of_tensors_is_that_of_boxes(box, other):
    frame = Frame.original("image", width=4, height=4)
    expected = giou(*(Box.from_cxcywh(one, frame=frame) for one in (box, other)))
    found = paired_giou(*(torch.tensor(one, dtype=torch.float64) for one in (box, other)))
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_boxes_without_area_have_no_gradient_of_nan():
    box = torch.zeros(2, 4, requires_grad=True)
    value = paired_giou(box, torch.zeros(2, 4))
    value.sum().backward()
    assert value.tolist() == [-1.0, -1.0] and torch.isfinite(box.grad).all()


@given(logit=st.floats(-8, 8), gamma=st.floats(0, 4))
def test_focal_loss_is_never_above_weighted_cross_entropy_and_falls_with_gamma(logit, gamma):
    logits = torch.tensor([logit, logit], dtype=torch.float64)
    targets = torch.tensor([0.0, 1.0], dtype=torch.float64)
    plain, focal, more = (focal_loss(logits, targets, gamma=one) for one in (0.0, gamma, gamma + 1))
    assert (focal <= plain + 1e-12).all() and (more <= focal + 1e-12).all() and (more >= 0).all()


@given(order=st.permutations(range(3)), seed=st.integers(0, 10_000))
def test_matching_does_not_depend_on_the_order_of_the_truth(order, seed):
    outputs, batch = make([3], seed)
    logits, found = (outputs.adapters["search"][name][0].detach() for name in ("box_logits", "boxes"))
    truth = batch.targets["boxes"]
    assert match_boxes(logits, found, truth[order]).tolist() == match_boxes(logits, found, truth)[order].tolist()


@given(nums=counts, more=counts, seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_the_loss_does_not_depend_on_how_a_step_is_cut(nums, more, seed):
    objective = OBJECTIVES.build({"type": "detection"})
    outputs, batch = make([*nums, *more], seed)
    made, cut = outputs.adapters["search"], sum(max(num, 0) for num in nums)
    parts = [
        piece(*(made[name][place] for name in ("box_logits", "boxes")), batch.targets["boxes"][own], part)
        for place, own, part in (
            (slice(len(nums)), slice(cut), nums),
            (slice(len(nums), None), slice(cut, None), more),
        )
    ]
    losses = [objective(*part, batch.count()).loss for part in parts]
    torch.testing.assert_close(sum(losses), objective(outputs, batch, batch.count()).loss)


def test_tokens_without_boxes_have_no_part_but_keep_the_graph():
    objective = OBJECTIVES.build({"type": "detection"})
    for nums in ([], [-1, -1]):
        outputs, batch = make(nums)
        loss = objective(outputs, batch, {"sequences": 1.0}).loss
        loss.backward()
        made = outputs.adapters["search"]
        assert float(loss.detach()) == 0.0 and all(not made[name].grad.any() for name in ("box_logits", "boxes"))
    outputs, batch = make([0])  # looked at, and nothing there
    objective(outputs, batch, {"sequences": 1.0}).loss.backward()
    assert (outputs.adapters["search"]["box_logits"].grad > 0).all()


def test_the_authors_way_counts_boxes_twice():
    outputs, batch = make([2, 1])
    ours, theirs = (
        OBJECTIVES.build({"type": "detection", "compat_giou": flag})(outputs, batch, batch.count()).metrics["giou"]
        for flag in (False, True)
    )
    torch.testing.assert_close(theirs, 3 * ours)


def test_what_does_not_fit_is_refused():
    outputs, batch = make([CELLS + 1])
    objective = OBJECTIVES.build({"type": "detection"})
    with pytest.raises(ShapeError, match="has 7 boxes, but the detector has only 6 cells"):
        objective(outputs, batch, batch.count())
    with pytest.raises(ShapeError, match="2 tokens must have boxes of their own, but 1 have"):
        objective(make([1, 1])[0], make([1])[1], batch.count())
    with pytest.raises(ShapeError, match="Exactly one adapter must have made `box_logits`, but none did"):
        objective(VlmOutput(), batch, batch.count())
    with pytest.raises(ConfigError, match="`l1_weight` must be 0 or more, but is -1"):
        OBJECTIVES.build({"type": "detection", "l1_weight": -1})
    with pytest.raises(ConfigError, match=r"`alpha` must be a share from 0 to 1, but is 1\.5"):
        OBJECTIVES.build({"type": "detection", "alpha": 1.5})
