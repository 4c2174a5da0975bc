"""Rows of new tokens beside the base's tables, so that the tables themselves stay as they are.

Letters: K new tokens, D width of a token, R rows of the base's table, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["AROUND_IMAGE", "TokenRows"]

AROUND_IMAGE = ("<im_start>", "<im_end>")
"""What the authors of LISA and of SEAL put around an image."""


class TokenRows(nn.Module):
    """Embeddings of K new tokens and, unless the base ties its head, their rows of the head.

    :meth:`install` hooks them onto the base's embedding and head, so that everything that embeds ids or computes
    logits sees the larger vocabulary. Ids between the base's rows and a new token get a logit of minus infinity.

    Args:
        token_ids: ids of the new tokens.
        width: D.
        is_tied: whether the head shares the embeddings.
    """

    token_ids: Tensor

    def __init__(self, token_ids: Mapping[str, int], *, width: int, is_tied: bool) -> None:
        super().__init__()
        self.names = tuple(token_ids)
        self.is_tied = is_tied
        self.register_buffer("token_ids", torch.tensor(list(token_ids.values())), persistent=False)
        self.input = nn.Parameter(torch.zeros(len(token_ids), width))
        self.output = None if is_tied else nn.Parameter(torch.zeros(len(token_ids), width))
        self._hooks: list[RemovableHandle] = []
        self.last_id = max(token_ids.values())
        self._ids: Tensor | None = None  # between the two hooks of one call of the embedding

    @torch.no_grad()
    def initialise(self, embedding: nn.Module, head: nn.Module, *, std: float = 0.02) -> None:
        """Start from the mean of the base's rows plus a little noise, so that the tokens differ.

        Args:
            embedding: with a ``weight`` of ``(R, D)``.
            head: likewise.
            std: of the noise, as a fraction of the spread of the base's rows.
        """
        for row, table in ((self.input, embedding), (self.output, head)):
            if row is not None and not row.is_meta:
                weight = table.get_parameter("weight").float()
                noise = torch.randn(row.shape) * std * float(weight.std())
                row.copy_((weight.mean(dim=0).cpu() + noise).to(row))

    def install(self, embedding: nn.Module, head: nn.Module) -> None:
        """Hook the rows onto the base's embedding and head."""
        self._hooks = [
            embedding.register_forward_pre_hook(self._before_embedding),
            embedding.register_forward_hook(self._after_embedding),
            head.register_forward_hook(self._after_head),
        ]

    def uninstall(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def forward(self, which: str) -> Tensor:
        """Return the rows ``(K, D)`` of the ``input`` or the ``output`` table; a call, so that ZeRO-3 gathers them."""
        return self.input if which == "input" or self.output is None else self.output

    def _before_embedding(self, embedding: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give the base's table an id that it has, wherever a new token stands."""
        self._ids = args[0]
        return (args[0].masked_fill(torch.isin(args[0], self.token_ids), 0), *args[1:])

    def _after_embedding(self, embedding: nn.Module, args: tuple[Any, ...], embedded: Tensor) -> Tensor:
        """Put the new rows where they belong: ``(B, T, D)``."""
        ids, self._ids = self._ids, None
        if ids is None:
            return embedded
        matches = ids.unsqueeze(-1) == self.token_ids  # (B, T, K)
        rows = self("input").to(embedded)[matches.int().argmax(dim=-1)]  # (B, T, D)
        return torch.where(matches.any(dim=-1, keepdim=True), rows, embedded)

    def _after_head(self, head: nn.Module, args: tuple[Any, ...], logits: Tensor) -> Tensor:
        """Add the logits of the new tokens: ``(..., R)`` to ``(..., max(R, last id + 1))``."""
        new = args[0] @ self("output").to(args[0]).T  # (..., K)
        width = self.last_id + 1
        if logits.shape[-1] < width:
            logits = nn.functional.pad(logits, (0, width - logits.shape[-1]), value=float("-inf"))
        return logits.index_copy_(-1, self.token_ids, new.to(logits))
