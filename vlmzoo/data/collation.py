"""From encoded conversations to one padded batch.

Letters: B sequences, T text positions, (H, W) pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

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

    def admits(self, encoded: Encoded, *, name: str) -> bool:
        """Say whether a conversation is taken.

        Raises:
            DataError: if it is too long and the policy refuses.
        """
        length = len(encoded["input_ids"])
        if self.max_tokens is None or length <= self.max_tokens:
            return True
        if self.action == "refuse":
            raise DataError(
                f"Sample `{name}` has {length} tokens, visual ones included, but only {self.max_tokens} are allowed; "
                "raise `max_tokens`, use fewer or smaller images, or choose the `skip` policy."
            )
        self.num_skipped += 1
        return False


class Collator:
    """Pads encoded conversations to one batch and stacks their images.

    Args:
        pad_token_id: what fills the gaps of ``input_ids``.
        side: where the gaps are: ``right`` for training, ``left`` for generation.
        multiple: round T up to a multiple of this.
    """

    def __init__(self, *, pad_token_id: int, side: Literal["left", "right"] = "right", multiple: int = 1) -> None:
        self.pad_token_id = pad_token_id
        self.side = side
        self.multiple = multiple

    def __call__(self, rows: Sequence[Encoded]) -> Batch:
        """Collate B rows.

        Returns:
            A batch with ``input_ids``, ``attention_mask`` and ``labels`` of shape ``(B, T)``, and ``pixel_values`` of
            shape ``(images, 3, H, W)`` over all rows in order, if any row has images.
        """
        inputs: dict[str, Tensor] = {
            "input_ids": self._pad([row["input_ids"] for row in rows], self.pad_token_id),
            "attention_mask": self._pad([[1] * len(row["input_ids"]) for row in rows], 0),
            "labels": self._pad([row["labels"] for row in rows], IGNORED_LABEL),
        }
        images = [row["pixel_values"] for row in rows if row.get("pixel_values") is not None]
        if images:
            inputs["pixel_values"] = torch.cat(images)
        return Batch(inputs=inputs)

    def _pad(self, rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        """Pad rows of different lengths to one ``(B, T)`` tensor."""
        width = -(-max(len(row) for row in rows) // self.multiple) * self.multiple
        padded = torch.full((len(rows), width), fill, dtype=torch.long)
        for line, row in zip(padded, rows, strict=True):
            place = slice(width - len(row), None) if self.side == "left" else slice(len(row))
            line[place] = torch.as_tensor(row, dtype=torch.long)
        return padded
