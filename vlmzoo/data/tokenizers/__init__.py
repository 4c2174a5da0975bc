"""Tokenizers: downloaded with a language model, or trained on the spot for models that start from nothing."""

from transformers import PreTrainedTokenizerBase

from vlmzoo.registry import Registry

__all__ = ["IMAGE_TOKEN", "TOKENIZERS"]

IMAGE_TOKEN = "<image>"
"""The placeholder of one visual token of a composed model; native models of Qwen and InternVL have their own."""

TOKENIZERS: Registry[PreTrainedTokenizerBase] = Registry("tokenizer", "vlmzoo.data.tokenizers")
