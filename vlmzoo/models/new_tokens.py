"""New tokens of a base: their ids from the tokenizer, and their rows beside the base's tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlmzoo.adapters import Adapter
from vlmzoo.adapters.tokens import TokenRows
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapted import Adapted, add_special_tokens

__all__ = ["NewTokensMixin", "check_tokens"]


class NewTokensMixin(Adapted):
    """Gives rows to the tokens that adapters add."""

    def _add_tokens(self, wanted: Sequence[str], token_ids: Mapping[str, int] | None, new: Sequence[str]) -> None:
        """Give rows to the tokens that the base does not know."""
        if not wanted:
            return
        if token_ids is None:
            tokenizer = self.processor.tokenizer
            known = tokenizer.get_vocab()
            new = [token for token in wanted if token not in known]
            add_special_tokens(tokenizer, new)
            token_ids = {token: tokenizer.convert_tokens_to_ids(token) for token in wanted}
        rows = {token: token_ids[token] for token in new}
        if rows and self.token_rows is not None:
            raise ConfigError(
                f"This model already has new tokens ({', '.join(self.token_rows.names)}), so `{next(iter(rows))}` "
                "cannot be added later; attach all adapters that add tokens at once."
            )
        if rows:
            self.add_token_rows(rows)
        self.token_ids |= {token: token_ids[token] for token in wanted}

    def add_token_rows(self, token_ids: Mapping[str, int]) -> None:
        """Add rows for new tokens beside the base's tables.

        Args:
            token_ids: ids that the tokenizer gave them.
        """
        embedding: Any = self.get_input_embeddings()
        head: Any = self.get_output_embeddings()
        is_tied = embedding.weight is head.weight
        with torch.device(embedding.weight.device):
            rows = TokenRows(token_ids, width=embedding.weight.shape[1], is_tied=is_tied)
        rows.initialise(embedding, head)
        self.token_rows = rows.to(embedding.weight.dtype)
        rows.install(embedding, head)


def check_tokens(adapters: Mapping[str, Adapter]) -> None:
    """Check that no two adapters add the same token.

    Args:
        adapters: by label.

    Raises:
        ConfigError: if two do.
    """
    owners: dict[str, str] = {}
    for label, adapter in adapters.items():
        for token in adapter.special_tokens:
            if token in owners:
                raise ConfigError(
                    f"The adapters `{owners[token]}` and `{label}` both add the token `{token}`; a token has one "
                    "meaning: leave one of them out, or give it another token."
                )
            owners[token] = label
