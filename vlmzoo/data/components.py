"""Splits that share nothing: what is linked stays together.

Letters: E links between nodes.
"""

import random
from collections.abc import Iterable, Mapping, Sequence

from vlmzoo.errors import ConfigError, DataError

__all__ = ["connected_components", "split_components"]


def connected_components(num_nodes: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Return the component of each node, numbered in the order of their first nodes.

    Source: Tarjan, Efficiency of a good but not linear set union algorithm, Journal of the ACM 22 (1975).

    Args:
        num_nodes: nodes are numbered from 0.
        links: E pairs of nodes.
    """
    parent = list(range(num_nodes))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in links:
        first, second = root(one), root(other)
        if first != second:
            parent[max(first, second)] = min(first, second)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(node), len(numbers)) for node in range(num_nodes)]


def split_components(sizes: Sequence[int], shares: Mapping[str, float], *, seed: int) -> list[str]:
    """Return the split of each component, so that splits come as near to their shares as whole components allow.

    Components come in random order, the largest first where they would not fit later; each goes where most is missing.

    Args:
        sizes: of the components.
        shares: of the splits, by name; they need not sum to 1.
        seed: of the order.

    Raises:
        ConfigError: if there is no share, or one is negative.
        DataError: if a split that has a share gets nothing.
    """
    total_share = sum(shares.values())
    if not total_share > 0 or min(shares.values()) < 0:
        raise ConfigError(f"`splits` must have shares of zero or more, some above, but are {dict(shares)} instead.")
    wanted = {name: share / total_share * sum(sizes) for name, share in shares.items() if share}
    order = list(range(len(sizes)))
    random.Random(f"{seed}/components").shuffle(order)
    smallest = min(wanted.values())
    order.sort(key=lambda number: sizes[number] <= smallest)  # stable: what fits anywhere keeps its random order
    found = [""] * len(sizes)
    missing = dict(wanted)
    for number in order:
        name = max(missing, key=lambda split: missing[split])
        found[number] = name
        missing[name] -= sizes[number]
    empty = sorted(set(wanted) - set(found))
    if empty:
        raise DataError(
            f"Splits {empty} must get something, but the data hang together in {len(sizes)} components, of which the "
            f"largest is {max(sizes, default=0) / max(sum(sizes), 1):.0%} of all; link fewer rows, or ask for fewer "
            "splits."
        )
    return found
