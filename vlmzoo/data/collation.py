"""From encoded conversations to one padded batch.

Letters: B sequences, T text positions, (H, W) pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from vlmzoo.data.adapter_inputs import AdapterBatch, AdapterInputs
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.outputs import IGNORED_LABEL, Batch

__all__ = ["Collator", "LengthPolicy"]

Encoded = Mapping[str, Any]


class LengthPolicy:
    """What becomes of a conversation that is too long; one with images is never truncated.

    Args:
        max_tokens: T at most, visual tokens counted; None for no limit.
        action: ``refuse`` raises, ``skip`` leaves the conversation out and counts it.

    Raises:
        ConfigError: if ``action`` is neither, or ``max_tokens`` is not positive.
    """

    def __init__(self, *, max_tokens: int | None = None, action: Literal["refuse", "skip"] = "refuse") -> None:
        if action not in ("refuse", "skip"):
            raise ConfigError(f"`action` must be refuse or skip, but is {action!r} instead.")
        if max_tokens is not None and max_tokens < 1:
            raise ConfigError(f"`max_tokens` must be positive, but is {max_tokens} instead.")
        self.max_tokens = max_tokens
        self.action = action
        self.num_skipped = 0

    def fits(self, encoded: Encoded) -> bool:
        """Say whether a conversation is short enough, without counting."""
        return self.max_tokens is None or len(encoded["input_ids"]) <= self.max_tokens

    def admits(self, encoded: Encoded, *, name: str) -> bool:
        """Say whether a conversation is taken.

        Raises:
            DataError: if it is too long and the policy refuses.
        """
        if self.fits(encoded):
            return True
        length = len(encoded["input_ids"])
        if self.action == "refuse":
            raise DataError(
                f"Sample `{name}` has {length} tokens, visual ones included, but only {self.max_tokens} are allowed; "
                "raise `max_tokens`, use fewer or smaller images, or choose the `skip` policy."
            )
        self.num_skipped += 1
        return False


class Collator:
    """Pads encoded conversations to one batch and joins what belongs to their images.

    Args:
        pad_token_id: what fills the gaps of ``input_ids``.
        side: where the gaps are: ``right`` for training, ``left`` for generation.
        multiple: round T up to a multiple of this.
        adapter_inputs: what collates the rows of each adapter, by its label.
    """

    def __init__(
        self,
        *,
        pad_token_id: int,
        side: Literal["left", "right"] = "right",
        multiple: int = 1,
        adapter_inputs: Mapping[str, AdapterInputs] | None = None,
    ) -> None:
        self.pad_token_id = pad_token_id
        self.side = side
        self.multiple = multiple
        self.adapter_inputs = dict(adapter_inputs or {})

    def __call__(self, rows: Sequence[Encoded]) -> Batch:
        """Collate B rows.

        Args:
            rows: as the processor's ``encode`` gives them; lists are padded, tensors joined over all rows in order.

        Returns:
            A batch with ``input_ids``, ``attention_mask`` and ``labels`` of shape ``(B, T)``, what the images gave
            (``pixel_values`` of shape ``(images, 3, H, W)`` or as the model wants them), and what the adapters add.
        """
        inputs: dict[str, Any] = {
            "input_ids": self._pad([row["input_ids"] for row in rows], self.pad_token_id),
            "attention_mask": self._pad([[1] * len(row["input_ids"]) for row in rows], 0),
            "labels": self._pad([row["labels"] for row in rows], IGNORED_LABEL),
        }
        for name in dict.fromkeys(name for row in rows for name in row):
            values = [row[name] for row in rows if row.get(name) is not None]
            if name in inputs or name == "adapters" or not values:
                continue
            inputs[name] = torch.cat(values) if isinstance(values[0], Tensor) else self._pad(values, 0)
        targets: dict[str, Any] = {}
        counts: dict[str, float] = {}
        for made in self._adapter_batches(rows):
            inputs |= made.inputs
            targets |= made.targets
            counts |= made.counts
        return Batch(inputs=inputs, targets=targets, counts=counts)

    def _adapter_batches(self, rows: Sequence[Encoded]) -> Iterator[AdapterBatch]:
        for label, adapter in self.adapter_inputs.items():
            yield adapter.collate([row["adapters"][label] for row in rows])

    def _pad(self, rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        """Pad rows of different lengths to one ``(B, T)`` tensor."""
        width = -(-max(len(row) for row in rows) // self.multiple) * self.multiple
        padded = torch.full((len(rows), width), fill, dtype=torch.long)
        for line, row in zip(padded, rows, strict=True):
            place = slice(width - len(row), None) if self.side == "left" else slice(len(row))
            line[place] = torch.as_tensor(row, dtype=torch.long)
        return padded
