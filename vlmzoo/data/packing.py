"""Sequence packing: several conversations laid end to end in one sequence, so that no position is a gap.

Letters: R rows (conversations), B sequences, T text positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.data.collation import Collator, Encoded
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.outputs import IGNORED_LABEL, Batch

__all__ = ["PackedCollator", "Segments", "pack_rows"]


def pack_rows(lengths: Sequence[int], *, capacity: int, window: int) -> list[list[int]]:
    """Group rows into bins, first-fit decreasing, among so many consecutive rows at a time.

    The bins of a window depend on its own lengths alone. So whoever knows where the window began and how many of its
    bins are used can go on from there: the window is packed again, and the used bins are passed over.

    Source: first-fit decreasing; never more than 11/9 of the fewest bins possible, plus 6/9 (Dósa, "The tight bound of
    first fit decreasing bin-packing algorithm", ESCAPE 2007).

    Args:
        lengths: tokens of each row, visual ones counted.
        capacity: most tokens of a bin; a row that is longer gets a bin of its own, for `LengthPolicy` decides of it.
        window: rows among which partners are sought; 1 packs nothing.

    Returns:
        The bins, each the numbers of its rows in ascending order; windows in order, and in a window the bins in the
        order of their first rows.

    Raises:
        ConfigError: if ``capacity`` or ``window`` is below 1.
        DataError: if a row is empty.
    """
    for name, value in (("capacity", capacity), ("window", window)):
        if value < 1:
            raise ConfigError(f"`{name}` must be at least 1, but is {value} instead.")
    _check_lengths(lengths)
    starts = range(0, len(lengths), window)
    return [bin for start in starts for bin in _pack_window(lengths[start : start + window], capacity, start)]


def _pack_window(lengths: Sequence[int], capacity: int, start: int) -> list[list[int]]:
    """Pack one window; the numbers of its rows begin at ``start``."""
    bins: list[list[int]] = []
    rooms: list[int] = []  # what is left in each bin
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):  # stable: equal rows keep their order
        chosen = next((number for number, room in enumerate(rooms) if lengths[row] <= room), len(bins))
        if chosen == len(bins):
            bins.append([])
            rooms.append(capacity)
        bins[chosen].append(start + row)
        rooms[chosen] -= lengths[row]
    return sorted(sorted(bin) for bin in bins)


@dataclass(frozen=True)
class Segments:
    """Where the rows of a packed sequence stand.

    Args:
        lengths: tokens of each of the R rows, in order.
    """

    lengths: tuple[int, ...]

    @classmethod
    def of(
        cls, position_ids: Tensor | None, *, attention_mask: Tensor | None = None, cache: Any = None
    ) -> "Segments | None":
        """Find the rows in positions that start anew with each of them.

        Args:
            position_ids: ``(1, T)``, or ``(4, 1, T)`` with the text positions before those of multimodal rotary ones.
            attention_mask: a packed batch has none, for it has no gaps.
            cache: a packed batch has none, for it is not generated.

        Returns:
            The rows, or None if the batch is not packed.
        """
        if position_ids is None or attention_mask is not None or cache is not None:
            return None
        if position_ids.ndim == 3 and position_ids.shape[0] == 4:
            position_ids = position_ids[0]
        if position_ids.ndim != 2 or position_ids.shape[0] != 1 or position_ids.shape[1] == 0:
            return None
        positions = position_ids[0]
        is_start = positions == 0
        counts_on = torch.nn.functional.pad(positions.diff() == 1, (1, 0), value=False)
        if not bool((is_start | counts_on).all()):
            return None
        bounds = [*is_start.nonzero().flatten().tolist(), len(positions)]
        return cls(tuple(end - start for start, end in pairwise(bounds)))

    @property
    def bounds(self) -> Tensor:
        """``(R + 1,)`` in int32, on the CPU: where each row begins, and where the last one ends."""
        return torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32)

    @property
    def position_ids(self) -> Tensor:
        """``(1, T)``: positions that start anew with each row."""
        return torch.cat([torch.arange(length) for length in self.lengths])[None]

    def mask(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the mask of the rows once they are split: ``(R, longest row)``, 1 where a token stands."""
        lengths = torch.tensor(self.lengths, device=device)
        return (torch.arange(max(self.lengths), device=device) < lengths[:, None]).long()

    def split(self, values: Tensor, *, fill: float = 0) -> Tensor:
        """Give every row a line of its own: ``(1, T, …)`` to ``(R, longest row, …)``, gaps on the right.

        Args:
            values: of a packed sequence.
            fill: what stands in the gaps.
        """
        return pad_sequence(list(values[0].split(self.lengths)), batch_first=True, padding_value=fill)

    def join(self, values: Tensor) -> Tensor:
        """Lay rows end to end, the inverse of :meth:`split`: ``(R, longest row, …)`` to ``(1, T, …)``."""
        return torch.cat([line[:length] for line, length in zip(values, self.lengths, strict=True)])[None]


class PackedCollator(Collator):
    """Lays encoded conversations end to end and joins what belongs to their images.

    Nothing is padded: the bins of a micro-batch follow one another in a single sequence, since attention sees rows
    and not bins. The batch has no ``attention_mask``; its positions tell the rows apart.

    Args:
        pad_token_id: as :class:`Collator` takes it; there are no gaps to fill.
        adapter_inputs: what collates the rows of each adapter, by its label; adapters are shown the rows apart.
    """

    def __init__(self, *, pad_token_id: int = 0, adapter_inputs: Mapping[str, AdapterInputs] | None = None) -> None:
        super().__init__(pad_token_id=pad_token_id, adapter_inputs=adapter_inputs)

    def __call__(self, bins: Sequence[Sequence[Encoded]]) -> Batch:  # type: ignore[override]
        """Collate the R rows of some bins.

        Args:
            bins: of rows, as the processor's ``encode`` gives them and `pack_rows` groups them.

        Returns:
            A batch with ``input_ids``, ``labels`` and ``position_ids`` of shape ``(1, T)``, what the images gave, and
            what the adapters add. The first label of each row is -100, so that no row is predicted from the one before
            it; ``sequences`` counts rows.

        Raises:
            DataError: if there is no row, one is empty, or one lacks a list that another has.
        """
        rows = [row for bin in bins for row in bin]
        _check_rows(rows)
        segments = Segments(tuple(len(row["input_ids"]) for row in rows))
        joined = super().__call__(rows)
        inputs = {name: value for name, value in joined.inputs.items() if name != "attention_mask"}
        inputs["labels"][0, segments.bounds[:-1].long()] = IGNORED_LABEL
        inputs["position_ids"] = segments.position_ids
        return Batch(inputs=inputs, targets=joined.targets, counts={"sequences": float(len(rows)), **joined.counts})

    def _pad(self, rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        """Lay rows end to end, in place of padding them: ``(1, T)``."""
        return torch.cat([torch.as_tensor(row, dtype=torch.long) for row in rows])[None]


def _check_rows(rows: Sequence[Encoded]) -> None:
    if not rows:
        raise DataError("A packed sequence must hold at least one row, but `bins` hold none.")
    lengths = [len(row["input_ids"]) for row in rows]
    _check_lengths(lengths)
    lists = {name for row in rows for name, value in row.items() if isinstance(value, list)}
    for name in sorted(lists):
        for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            found = len(row.get(name) or ())
            if found != length:
                raise DataError(
                    f"`{name}` of row {number} must have as many entries as its `input_ids`, {length}, but has {found} "
                    "instead; encode all rows of a bin with the same processor."
                )


def _check_lengths(lengths: Sequence[int]) -> None:
    for number, length in enumerate(lengths):
        if length < 1:
            raise DataError(f"A row that is packed must have at least 1 token, but row {number} has {length} instead.")
