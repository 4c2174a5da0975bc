"""Rows in an order in which every batch holds as many of each class.

Source: TWIN, arXiv:2512.23592, the sampler of its verl fork (``balance_binary_labels``).
Letters: B rows in a batch, K classes.
"""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from vlmzoo.data.labels import normalised_label
from vlmzoo.errors import ConfigError, DataError

__all__ = ["BalancedOrder"]


class BalancedOrder:
    """An endless order of rows; of each B in turn, B / K belong to each class.

    Every class has a queue in random order, to which a fresh order of all its rows is added when it runs short; so no
    row comes again before all of its class have come, and rows of a small class come more often. With two classes it is
    TWIN's sampler to the last index. The order depends on labels, B and the seed alone, never on ranks: ranks that take
    places of one order take the same batches, whatever their number.

    Args:
        labels: of the rows; a row of another label than ``classes`` is never drawn, and counted in ``left_out``.
        classes: what is balanced, in this order: names, or several names that make one class.
        batch_size: B.
        seed: of the order.

    Raises:
        ConfigError: if B is no multiple of K, or a class has no rows.
    """

    def __init__(
        self,
        labels: Sequence[object],
        *,
        classes: Sequence[str | Sequence[str]] = ("yes", "no"),
        batch_size: int,
        seed: int = 1,
    ) -> None:
        named = [{one} if isinstance(one, str) else set(one) for one in classes]
        if len(named) < 2 or sum(map(len, named)) > len(set().union(*named)):
            raise ConfigError(f"`classes` must be two or more that share no label, but are {list(classes)!r} instead.")
        if batch_size < len(named) or batch_size % len(named):
            raise ConfigError(
                f"The batch that is balanced must have a multiple of {len(named)} rows, one share for each of "
                f"{list(classes)}, but has {batch_size}."
            )
        found = [normalised_label(label) for label in labels]
        self.members = [[row for row, label in enumerate(found) if label in names] for names in named]
        for names, members in zip(named, self.members, strict=True):
            if not members:
                counts = {label: found.count(label) for label in sorted(set(found))}
                raise ConfigError(
                    f"Every class must have a row, but {sorted(names)} has none among the labels {counts}; check the "
                    "data, or leave out the balance."
                )
        known = set().union(*named)
        self.left_out: Mapping[str, int] = {label: found.count(label) for label in sorted(set(found) - known)}
        self.batch_size, self.seed = batch_size, seed
        self._restart()

    def __len__(self) -> int:
        """Return the rows of an epoch: in whole batches, until the largest class has come once."""
        share = self.batch_size // len(self.members)
        return -(-max(map(len, self.members)) // share) * self.batch_size

    def row(self, place: int) -> int:
        """Return the row at a place of the order, from 0."""
        while place >= len(self._drawn):
            self._draw_batch()
        return self._drawn[place]

    def stand_ins(self, place: int) -> Iterator[int]:
        """Iterate over the other rows of the class that a place has, in an order of its own, each once.

        For a row that turns out to be of no use: the order itself does not change, so batches stay what they are.
        """
        row = self.row(place)
        others = [other for members in self.members if row in members for other in members if other != row]
        random.Random(f"{self.seed}/{place}").shuffle(others)
        return iter(others)

    def __iter__(self) -> Iterator[int]:
        """Iterate over one more epoch."""
        for _ in range(len(self)):
            self.taken += 1
            yield self.row(self.taken - 1)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration stands."""
        return {"taken": self.taken, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``state_dict`` was taken.

        Raises:
            DataError: if it is of another order.
        """
        own = self._identity()
        differing = [name for name in own if state.get(name) != own[name]]
        if differing:
            parts = ", ".join(f"`{name}` was {state.get(name)} and is {own[name]}" for name in differing)
            raise DataError(f"The order of the rows must be the one that was saved, but {parts}; start anew.")
        self.taken = int(state["taken"])

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "batch_size": self.batch_size, "sizes": [len(members) for members in self.members]}

    def _restart(self) -> None:
        self.taken = 0
        self._drawn = array("q")
        self._generator = torch.Generator().manual_seed(self.seed)
        self._queues: list[list[int]] = [[] for _ in self.members]

    def _draw_batch(self) -> None:
        share = self.batch_size // len(self.members)
        batch: list[int] = []
        for queue, members in zip(self._queues, self.members, strict=True):
            while len(queue) < share:
                queue.extend(members[place] for place in self._permutation(len(members)))
            batch += queue[:share]
            del queue[:share]
        self._drawn.extend(batch[place] for place in self._permutation(self.batch_size))

    def _permutation(self, num: int) -> list[int]:
        return torch.randperm(num, generator=self._generator).tolist()
