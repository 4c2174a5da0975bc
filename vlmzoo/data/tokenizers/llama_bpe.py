"""The tokenizer of LLaMA, Vicuna and LLaVA-1.5 in miniature: SentencePiece's habits, pieces trained on the spot."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tokenizers import pre_tokenizers
from transformers import LlamaTokenizer, PreTrainedTokenizerBase

from vlmzoo.data.tokenizers import IMAGE_TOKEN, TOKENIZERS
from vlmzoo.data.tokenizers._bpe import learn_pieces
from vlmzoo.data.tokenizers._corpus import BUILT_IN, synthetic_texts
from vlmzoo.data.tokenizers._tight import add_tight_tokens

__all__ = ["llama_bpe_tokenizer"]

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
_SPACE = "▁"  # what SentencePiece writes for a space
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_ALPHABET = (_SPACE, *(chr(code) for code in range(33, 127)))


@TOKENIZERS.register(
    "llama_bpe",
    source="LLaMA, arXiv:2302.13971, section 2.1; SentencePiece, arXiv:1808.06226; transformers, LlamaTokenizer",
    tiny={"corpus": [], "vocab_size": 400},
)
def llama_bpe_tokenizer(
    *,
    corpus: Sequence[Mapping[str, Any]] | None = None,
    vocab_size: int = 512,
    num_samples: int = 50,
    seed: int = 0,
    image_token: str | None = IMAGE_TOKEN,
    pad_token: str = UNK,
    tight_tokens: Sequence[str] = (),
) -> PreTrainedTokenizerBase:
    """Train a tokenizer with LLaMA's habits.

    ``<s>`` stands first in every text; a space belongs to the word behind it, and the first word gets one; digits
    stand alone; a character that is no piece is spelt as its bytes, ``<0x0A>`` for a line break.
    ``legacy: false`` as in Vicuna-1.5 and LLaVA-1.5: what follows a special token gets no space.

    Args:
        corpus: synthetic tasks, ``{type: name, …}``; None takes the built-in ones.
        vocab_size: pieces at most, special tokens, bytes and the characters of ASCII included.
        num_samples: conversations read from each task.
        seed: of the instances.
        image_token: the image placeholder; None adds none.
        pad_token: fills gaps; ``<unk>`` in LLaVA's own repositories, ``<pad>`` in llava-hf's.
        tight_tokens: special tokens that swallow the white space around them, as in LISA; they come before the image
            placeholder.

    Raises:
        ConfigError: if ``vocab_size`` has no room for the single pieces.
    """
    added = [token for token in (pad_token, image_token) if token not in (None, UNK, BOS, EOS)]
    texts = synthetic_texts(BUILT_IN if corpus is None else corpus, num_samples=num_samples, seed=seed)
    vocab, merges = learn_pieces(
        _lines(texts),
        pre_tokenizer=pre_tokenizers.Sequence(
            [
                pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True),
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.Punctuation(behavior="contiguous"),
            ]
        ),
        first=(UNK, BOS, EOS, *_BYTES),
        alphabet=_ALPHABET,
        vocab_size=vocab_size - len(added) - len(tight_tokens),
    )
    tokenizer = LlamaTokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=pad_token,
        add_bos_token=True,
        extra_special_tokens=[image_token] if image_token is not None and not tight_tokens else [],
    )
    if tight_tokens:
        add_tight_tokens(tokenizer, tight_tokens)
        if image_token is not None:
            tokenizer.add_special_tokens({"extra_special_tokens": [image_token]}, replace_extra_special_tokens=False)
    return tokenizer


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Give printable lines only: a line break or a tab is a byte to LLaMA, and must not become a piece."""
    for text in texts:
        for line in text.splitlines():
            yield "".join(character for character in line if character.isprintable())
