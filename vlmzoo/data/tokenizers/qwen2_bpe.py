"""The tokenizer of Qwen2 to Qwen3-VL, and of InternVL above them, in miniature: pieces trained on the spot."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, normalizers
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from vlmzoo.data.tokenizers import TOKENIZERS
from vlmzoo.data.tokenizers._bpe import learn_byte_level_pieces
from vlmzoo.data.tokenizers._corpus import BUILT_IN, synthetic_texts

__all__ = ["qwen2_bpe_tokenizer"]

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_QWEN = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    *(f"<|{name}_{side}|>" for name in ("object_ref", "box", "quad", "vision") for side in ("start", "end")),
    *(f"<|{name}_pad|>" for name in ("vision", "image", "video")),
)
"""Special tokens of Qwen2-VL, in the order of their ids: 151643 and on in the released tokenizers."""
_INTERNVL = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>", "<video>")
_INTERNVL_NAMES = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
"""What transformers' InternVLProcessor asks its tokenizer for."""


@TOKENIZERS.register(
    "qwen2_bpe",
    source="Qwen2, arXiv:2407.10671, section 2.1; transformers, Qwen2Tokenizer; InternVL3.5, arXiv:2508.18265",
    tiny={"corpus": [], "vocab_size": 300},
)
def qwen2_bpe_tokenizer(
    *,
    corpus: Sequence[Mapping[str, Any]] | None = None,
    vocab_size: int = 512,
    num_samples: int = 50,
    seed: int = 0,
    internvl: bool = False,
    image_token: str | None = None,
) -> PreTrainedTokenizerBase:
    """Train a tokenizer with Qwen2's habits.

    Nothing stands before a text; a space belongs to the word behind it, and the first word gets none; digits stand
    alone; text is brought to Unicode's form NFC, then spelt in bytes, so that every text can be encoded.

    Args:
        corpus: synthetic tasks, ``{type: name, …}``; None takes the built-in ones.
        vocab_size: pieces at most, special tokens and the 256 bytes included.
        num_samples: conversations read from each task.
        seed: of the instances.
        internvl: whether to add InternVL's tokens (``<img>``, ``</img>``, ``<IMG_CONTEXT>`` …) behind Qwen's.
        image_token: a placeholder of one's own, such as a composed model's ``<image>``; None adds none.

    Raises:
        ConfigError: if ``vocab_size`` has no room for the single pieces.
    """
    special = [*_QWEN, *(_INTERNVL if internvl else ()), *([] if image_token is None else [image_token])]
    texts = synthetic_texts(BUILT_IN if corpus is None else corpus, num_samples=num_samples, seed=seed)
    vocab, merges = learn_byte_level_pieces(
        texts, pattern=PRETOKENIZE_REGEX, vocab_size=vocab_size - len(special), normalizer=normalizers.NFC()
    )
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,  # type: ignore[arg-type]
        unk_token=None,  # type: ignore[arg-type]  # every byte is known
        bos_token=None,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        added_tokens_decoder={
            len(vocab) + place: AddedToken(token, special=True, normalized=False) for place, token in enumerate(special)
        },
        extra_special_tokens=[token for token in special if token not in (END_OF_TEXT, TURN_END)],
        **(_INTERNVL_NAMES if internvl else {}),
    )
