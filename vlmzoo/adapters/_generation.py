"""What is kept of a generation, so that adapters can read the states that predicted their tokens.

Letters: B sequences, T positions of a call, L positions of a whole sequence, D width of a token, K tokens found.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from vlmzoo.errors import ConfigError

__all__ = ["StateRecorder"]

_SHORT = 32
"""Calls of so few positions are kept whole: steps of a generation, and what assisted decoding tries."""


class StateRecorder:
    """Keeps, call by call, the hidden states that may predict one of some tokens.

    Under a key-value cache each call sees a few new positions only; without one, the whole sequence again. Of a long
    call (the prompt) only those states are kept behind which one of the tokens stands, and the last.

    Args:
        token_ids: the tokens.
    """

    def __init__(self, token_ids: Collection[int]) -> None:
        self.token_ids = tuple(token_ids)
        self._states: dict[int, Tensor] = {}  # by position in the sequence, (B, D) each

    def see(self, input_ids: Tensor | None, hidden: Tensor, *, cache: Any) -> None:
        """Take what one call computed.

        Args:
            input_ids: ``(B, T)``.
            hidden: ``(B, T, D)``, after the final norm.
            cache: transformers' key-value cache after the call, or None.

        Raises:
            ConfigError: if the call was given embeddings in place of ids.
        """
        length = hidden.shape[1]
        if input_ids is None or input_ids.shape[1] != length:
            raise ConfigError("Adapters that read what is generated need `input_ids`; do not give `inputs_embeds`.")
        start = 0 if cache is None else int(cache.get_seq_length()) - length
        columns = range(length) if length <= _SHORT else [*self._before_tokens(input_ids), length - 1]
        for column in columns:
            self._states[start + column] = hidden[:, column].clone()

    def _before_tokens(self, input_ids: Tensor) -> list[int]:
        wanted = torch.tensor(self.token_ids, device=input_ids.device)
        return torch.isin(input_ids[:, 1:], wanted).any(dim=0).nonzero().flatten().tolist()

    def predicting(self, sequences: Tensor, token_id: int) -> tuple[Tensor, Tensor]:
        """Find a token in finished sequences.

        Args:
            sequences: ``(B, L)``, prompts included.
            token_id: of the token.

        Returns:
            Rows and columns ``(K, 2)`` of the token, row by row, and the states ``(K, D)`` that predicted it.
        """
        places = (sequences[:, 1:] == token_id).nonzero() + torch.tensor([0, 1], device=sequences.device)
        any_state = next(iter(self._states.values()))
        states = [self._states[column - 1][row] for row, column in places.tolist()]
        return places, torch.stack(states) if states else any_state[:0]
