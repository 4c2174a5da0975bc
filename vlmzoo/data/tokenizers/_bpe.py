"""Learning the pieces and merges of a byte pair encoding, apart from the tokenizer that will use them."""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from vlmzoo.errors import ConfigError

__all__ = ["Pieces", "byte_level_splitter", "learn_byte_level_pieces", "learn_pieces"]

Pieces = tuple[dict[str, int], list[tuple[str, str]]]
"""The id of every piece, and the pairs to merge in their order."""


def byte_level_splitter(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Split text by a regular expression and spell what results as bytes; merges never cross a split."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def learn_byte_level_pieces(
    texts: Iterable[str], *, pattern: str, vocab_size: int, normalizer: normalizers.Normalizer | None = None
) -> Pieces:
    """Learn pieces over bytes: the 256 bytes first, then what the merges make.

    Args:
        texts: the corpus.
        pattern: splits a text into what merges may not leave.
        vocab_size: pieces at most.
        normalizer: runs before the split.

    Raises:
        ConfigError: if there is no room for the bytes.
    """
    return learn_pieces(
        texts,
        pre_tokenizer=byte_level_splitter(pattern),
        first=(),
        alphabet=pre_tokenizers.ByteLevel.alphabet(),
        vocab_size=vocab_size,
        normalizer=normalizer,
    )


def learn_pieces(
    texts: Iterable[str],
    *,
    pre_tokenizer: pre_tokenizers.PreTokenizer,
    first: Sequence[str],
    alphabet: Sequence[str],
    vocab_size: int,
    normalizer: normalizers.Normalizer | None = None,
) -> Pieces:
    """Learn pieces: equal texts give equal pieces, on any machine.

    Args:
        texts: the corpus.
        pre_tokenizer: splits a text into what merges may not leave.
        first: pieces that take the ids from 0 on.
        alphabet: single characters that are pieces even if the corpus lacks them.
        vocab_size: pieces at most.
        normalizer: runs before the split.

    Raises:
        ConfigError: if there is no room for ``first`` and ``alphabet``.
    """
    needed = len(first) + len(alphabet)
    if vocab_size < needed:
        raise ConfigError(
            f"`vocab_size` must leave room for {needed} single pieces beside the special tokens, but leaves "
            f"{vocab_size} instead."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(first), initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    return learnt["vocab"], [(left, right) for left, right in learnt["merges"]]
