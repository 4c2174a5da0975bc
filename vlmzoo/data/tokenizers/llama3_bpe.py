"""The tokenizer of Llama 3 in miniature: tiktoken's habits, pieces trained on the spot."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from vlmzoo.data.tokenizers import IMAGE_TOKEN, TOKENIZERS
from vlmzoo.data.tokenizers._bpe import byte_level_splitter, learn_byte_level_pieces
from vlmzoo.data.tokenizers._corpus import BUILT_IN, synthetic_texts

__all__ = ["LLAMA3_PATTERN", "llama3_bpe_tokenizer"]

BOS, END_OF_TEXT, END_OF_TURN, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>"
_SPECIAL = (BOS, END_OF_TEXT, PAD, "<|start_header_id|>", "<|end_header_id|>", END_OF_TURN)
LLAMA3_PATTERN = PRETOKENIZE_REGEX.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
"""How Llama 3 splits text: as Qwen2, but up to three digits stay together."""


@TOKENIZERS.register(
    "llama3_bpe",
    source="Llama 3, arXiv:2407.21783, section 3.2",
    tiny={"corpus": [], "vocab_size": 300},
)
def llama3_bpe_tokenizer(
    *,
    corpus: Sequence[Mapping[str, Any]] | None = None,
    vocab_size: int = 512,
    num_samples: int = 50,
    seed: int = 0,
    image_token: str | None = IMAGE_TOKEN,
) -> PreTrainedTokenizerBase:
    """Train a tokenizer with the habits of Llama 3.

    ``<|begin_of_text|>`` stands first in every text; a space belongs to the word behind it, and the first word gets
    none; up to three digits form a piece; a split that is a piece as a whole is taken whole.

    Args:
        corpus: synthetic tasks, ``{type: name, …}``; None takes the built-in ones.
        vocab_size: pieces at most, special tokens and the 256 bytes included.
        num_samples: conversations read from each task.
        seed: of the instances.
        image_token: the image placeholder; None adds none.

    Raises:
        ConfigError: if ``vocab_size`` has no room for the single pieces.
    """
    special = [*_SPECIAL, *([] if image_token is None else [image_token])]
    texts = synthetic_texts(BUILT_IN if corpus is None else corpus, num_samples=num_samples, seed=seed)
    vocab, merges = learn_byte_level_pieces(texts, pattern=LLAMA3_PATTERN, vocab_size=vocab_size - len(special))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = byte_level_splitter(LLAMA3_PATTERN)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END_OF_TURN,
        pad_token=PAD,
        extra_special_tokens=[token for token in special if token not in (BOS, END_OF_TURN, PAD)],
        clean_up_tokenization_spaces=False,
    )
