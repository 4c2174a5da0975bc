"""TWIN's balanced sampler: the very indices, over two epochs; and the inputs that it refuses."""

import pytest

from vlmzoo.data.balancing import BalancedOrder

GOLDEN = ("twin", "balanced_sampler*.jsonl")


def test_the_order_is_the_authors(golden):
    case = golden.content
    options = {name: case[name] for name in ("batch_size", "seed") if name in case}
    if "error" in case:
        with pytest.raises(ValueError, match="must have"):
            BalancedOrder(case["labels"], **options)
        return
    order = BalancedOrder(case["labels"], **options)
    assert len(order) == case["length"]
    assert list(order) == case["epoch1"]
    assert list(order) == case["epoch2"]
