"""A byte-level BPE tokenizer trained on the spot, for tiny models that start from nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from vlmzoo.data.tokenizers import IMAGE_TOKEN, TOKENIZERS
from vlmzoo.data.tokenizers._corpus import synthetic_texts

__all__ = ["byte_bpe_tokenizer", "train_byte_bpe"]

BOS, EOS, PAD = "<s>", "</s>", "<pad>"


@TOKENIZERS.register(
    "byte_bpe",
    source="Byte-level BPE: GPT-2, Radford et al. 2019, section 2.2",
    tiny={"corpus": [], "vocab_size": 300},
)
def byte_bpe_tokenizer(
    *, corpus: list[Mapping[str, Any]], vocab_size: int = 512, num_samples: int = 400, seed: int = 0
) -> PreTrainedTokenizerBase:
    """Train a tokenizer on what synthetic tasks say.

    Args:
        corpus: synthetic tasks, ``{type: name, …}``, each with the ``kind`` of example to read; or sources,
            ``{source: {type: name, …}}``.
        vocab_size: pieces at most, special tokens and the 256 bytes included.
        num_samples: conversations read from each task.
        seed: of the instances.
    """
    return train_byte_bpe(synthetic_texts(corpus, num_samples=num_samples, seed=seed), vocab_size=vocab_size)


def train_byte_bpe(texts: Iterator[str], *, vocab_size: int) -> PreTrainedTokenizerBase:
    """Train a lossless tokenizer: every text can be encoded and comes back as it was.

    A word, with its punctuation and the space before it, can become one piece; pieces never cross words.

    Args:
        texts: the corpus.
        vocab_size: pieces at most.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\S+|\s"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS, IMAGE_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[IMAGE_TOKEN],
        clean_up_tokenization_spaces=False,
    )
