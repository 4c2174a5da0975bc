"""A tokenizer from the Hub or a folder, with the image placeholder added."""

from collections.abc import Sequence

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from vlmzoo.data.tokenizers import IMAGE_TOKEN, TOKENIZERS
from vlmzoo.data.tokenizers._tight import add_tight_tokens
from vlmzoo.errors import DataError

__all__ = ["pretrained_tokenizer"]


@TOKENIZERS.register("pretrained", source="transformers, AutoTokenizer", tiny={"repo": ""})
def pretrained_tokenizer(
    *,
    repo: str,
    revision: str | None = None,
    image_token: str | None = IMAGE_TOKEN,
    tight_tokens: Sequence[str] = (),
) -> PreTrainedTokenizerBase:
    """Load a tokenizer and make sure that it knows the image placeholder and a padding token.

    Args:
        repo: Hub id or folder.
        revision: branch, tag or commit.
        image_token: the placeholder; None adds none, for a model that brings its own (``<|image_pad|>`` of Qwen2-VL).
        tight_tokens: tokens, added where they are not there yet, that swallow the white space around them, as in LISA.

    Raises:
        DataError: if it cannot be found.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The tokenizer of `{repo}` cannot be loaded ({str(error).splitlines()[0]}); check the name, the network, "
            "or give the path of a folder that holds it."
        ) from error
    add_tight_tokens(tokenizer, tight_tokens)
    if image_token is not None:
        tokenizer.add_special_tokens({"extra_special_tokens": [image_token]}, replace_extra_special_tokens=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer
