"""Queues of what online learning has made and not yet learned from, as plain lists that can be written down."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

__all__ = ["FifoQueue", "ranked_advantages"]

T = TypeVar("T")


class FifoQueue(Generic[T]):
    """First in, first out; each item is taken once.

    Args:
        items: what it begins with, the oldest first.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self.items = list(items)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        """Iterate over what waits, the oldest first, taking nothing."""
        return iter(list(self.items))

    def put(self, items: Iterable[T]) -> None:
        """Add items behind the others."""
        self.items.extend(items)

    def take(self, num: int) -> list[T]:
        """Take the oldest ones, fewer where there are fewer."""
        taken, self.items = self.items[:num], self.items[num:]
        return taken

    def fill(self, num: int, make: Callable[[], Iterable[T] | None]) -> None:
        """Make items until ``num`` wait, or ``make`` says with None that it can make no more."""
        while len(self.items) < num:
            made = make()
            if made is None:
                return
            self.put(made)


def ranked_advantages(scores: Sequence[float], *, eps: float = 1e-6) -> list[tuple[int, float]]:
    """Return order and advantages with which OViP's released GRPO trains a prompt's answers, to be compared with.

    Sorted, the best first, the first updates see only good answers and the last only bad ones. The library's own GRPO
    (``objectives/policy_gradient.py``) shuffles.

    Source: OViP, arXiv:2505.15963, released code, trainer of GRPO with a buffer.

    Args:
        scores: of one prompt's answers; equal ones keep their order.
        eps: added to the population's standard deviation.
    """
    mean = sum(scores) / len(scores)
    deviation = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    return [(number, (scores[number] - mean) / (deviation + eps)) for number in order]
