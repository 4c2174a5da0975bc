"""Tokens that swallow the white space around them, as transformers' slow tokenizers treated added tokens until 4.33."""

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers import AddedToken

__all__ = ["add_tight_tokens"]


def add_tight_tokens(tokenizer: Any, tokens: Sequence[str]) -> None:
    """Add tokens, or change those that are there, so that white space before and behind them belongs to them.

    LISA was trained so: ``Sure, [SEG].`` has no space of its own before the token, and the line break behind
    ``<im_end>`` is lost.

    Args:
        tokenizer: a fast one.
        tokens: in the order in which they get their ids, where they have none yet.
    """
    new = [token for token in tokens if token not in tokenizer.get_vocab()]
    if new:
        added = [AddedToken(token, lstrip=True, rstrip=True, normalized=False, special=True) for token in new]
        tokenizer.add_special_tokens({"extra_special_tokens": added}, replace_extra_special_tokens=False)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for entry in state["added_tokens"]:
        if entry["content"] in tokens:
            entry |= {"lstrip": True, "rstrip": True, "normalized": False}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
