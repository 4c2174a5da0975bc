"""From encoded pairs to one batch that holds each picture once: rows name their pictures by number.

Letters: B rows, P pairs.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.data.preference_rows import rows_by_role, rows_of
from vlmzoo.outputs import IGNORED_LABEL, Batch

__all__ = ["PairCollator", "joined_pictures", "num_pictures", "pair_digest"]


class PairCollator:
    """Joins the rows of P pairs to one batch, in the order of the strategy's layout.

    Args:
        strategy: whose rows.
        mode: ``single`` or ``same_batch``.
        roles: that the loss asks for.
        preferred: roles of the rows whose targets ``preferred_tokens`` counts.
        collate: pads rows.
    """

    def __init__(
        self, *, strategy: str, mode: str, roles: Sequence[str], preferred: Sequence[str], collate: Collator
    ) -> None:
        self.strategy, self.mode = strategy, mode
        self.roles, self.preferred, self.collate = list(roles), list(preferred), collate
        self._of_one = list(rows_of(strategy, mode=mode, num_pairs=1))

    def __call__(self, pairs: Sequence[Mapping[str, Any]]) -> Batch:
        """Collate P pairs.

        Returns:
            A batch whose ``pixel_values`` hold each picture once and whose ``image_index`` says which is shown where;
            ``rows`` among the targets has the places of each role, and ``pairs`` and ``preferred_tokens`` are counted.
        """
        rows = list(rows_of(self.strategy, mode=self.mode, num_pairs=len(pairs)))
        place = {(row.role, row.text, row.picture): number for number, row in enumerate(self._of_one)}
        inner = [place[row.role, row.text, row.picture] for row in rows]
        batch = self.collate([pairs[row.pair]["rows"][number] for row, number in zip(rows, inner, strict=True)])
        starts = [0]
        for pair in pairs:
            starts.append(starts[-1] + num_pictures(pair["pictures"]))
        index = [
            starts[row.pair] + number
            for row, own in zip(rows, inner, strict=True)
            for number in pairs[row.pair]["shown"][own]
        ]
        pictures = joined_pictures([pair["pictures"] for pair in pairs])
        if index:
            pictures["image_index"] = torch.tensor(index)
        roles = rows_by_role(rows, self.roles, strategy=self.strategy)
        labels = batch.inputs["labels"]
        preferred = labels[[number for role in self.preferred for number in roles[role]]]
        counts = {"pairs": float(len(pairs)), "preferred_tokens": float((preferred[:, 1:] != IGNORED_LABEL).sum())}
        targets = {**batch.targets, "rows": {role: torch.tensor(found) for role, found in roles.items()}}
        return Batch(inputs={**batch.inputs, **pictures}, targets=targets, counts={**batch.counts, **counts})

    def places_of(self, pair: int, num_pairs: int) -> list[int]:
        """Return where the rows of a pair stand in a batch of ``num_pairs``, in the order of one pair's own."""
        rows = enumerate(rows_of(self.strategy, mode=self.mode, num_pairs=num_pairs))
        found = {(row.role, row.text, row.picture): number for number, row in rows if row.pair == pair}
        return [found[row.role, row.text, row.picture] for row in self._of_one]


def pair_digest(encoded: Mapping[str, Any]) -> bytes:
    """Return 16 bytes that tell an encoded pair from every other: its ids, targets and pictures."""
    digest = hashlib.blake2b(digest_size=16)
    for row, shown in zip(encoded["rows"], encoded["shown"], strict=True):
        digest.update(repr((list(row["input_ids"]), list(row["labels"]), shown)).encode())
    for name, tensor in sorted(encoded["pictures"].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def num_pictures(tensors: Mapping[str, Tensor]) -> int:
    """Return how many pictures, or tiles, are told of."""
    counted = tensors.get("image_grid_thw", tensors.get("pixel_values"))
    return 0 if counted is None else int(counted.shape[0])


def joined_pictures(pictures: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join what is told of several sets of pictures."""
    names = dict.fromkeys(name for tensors in pictures for name in tensors)
    return {name: torch.cat([tensors[name] for tensors in pictures if name in tensors]) for name in names}
