"""The losses of masks, a_losses: LISA's sums over a ragged batch, and the values for each mask."""

import pytest
import torch

from tests.golden.fast.cases import case_name, read_case, sidecars
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.geometry import mask_bce, mask_dice
from vlmzoo.outputs import Batch, VlmOutput

TOLERANCE = {"atol": 1e-5, "rtol": 0.0}


@pytest.fixture(params=sidecars("a_losses"), ids=case_name("a_losses"))
def case(request):
    """The sidecar's values, and logits and targets of each sample."""
    content, tensors, _ = read_case(request.param, "a_losses")
    pairs = [(tensors[f"s{n}.pred_logits"], tensors[f"s{n}.gt"]) for n in range(len(content["samples"]))]
    return content, pairs


def test_a_losses_of_a_batch(case):
    content, pairs = case
    sizes = [mask.shape for _, truth in pairs for mask in truth]
    outputs = VlmOutput(adapters={"seg": {"mask_logits": torch.cat([logits.flatten() for logits, _ in pairs])}})
    batch = Batch(
        inputs={"labels": torch.zeros(len(pairs), 2, dtype=torch.long)},
        targets={
            "masks": torch.cat([truth.flatten() for _, truth in pairs]),
            "mask_sizes": torch.tensor(sizes).reshape(-1, 2),
        },
        counts={"masks": float(len(sizes))},
    )
    weights = content["weights"]
    terms = {"bce": {"type": "mask_bce"}, "dice": {"type": "mask_dice"}}
    objective = OBJECTIVES.build(
        {"type": "weighted_sum", "terms": {name: {**term, "weight": weights[name]} for name, term in terms.items()}}
    )
    found, expected = objective(outputs, batch, batch.count()), content["lisa"]
    assert batch.counts["masks"] == expected["num_masks"]
    for name in ("bce", "dice"):
        value = weights[name] * found.metrics[f"{name}/loss"]
        torch.testing.assert_close(value, torch.tensor(expected[f"mask_{name}_loss"]), **TOLERANCE)
    torch.testing.assert_close(found.loss, torch.tensor(expected["mask_loss"]), **TOLERANCE)


@pytest.mark.parametrize("name", ["bce", "dice"])
def test_a_losses_of_each_mask(case, name):
    content, pairs = case
    loss = {"bce": mask_bce, "dice": mask_dice}[name]
    total = torch.zeros(())
    for sample, (logits, truth) in zip(content["samples"], pairs, strict=True):
        found = torch.stack([loss(one, target) for one, target in zip(logits, truth, strict=True)])
        torch.testing.assert_close(found.mean(), torch.tensor(sample[f"{name}_fn"]), **TOLERANCE)
        expected = torch.tensor(sample[f"vsm_{name}_per_mask"])  # there divided by the masks of the sample
        torch.testing.assert_close(found / sample["k"], expected, **TOLERANCE)
        total += (found * torch.tensor(sample["valid"])).sum()
    valid = content["weights"][name] * total / content["vsm"]["num_valid"]
    torch.testing.assert_close(valid, torch.tensor(content["vsm"][f"mask_{name}_loss"]), **TOLERANCE)
