"""Language models: transformers' own, chosen by name."""

from transformers import PreTrainedConfig

from vlmzoo.registry import Registry

__all__ = ["LANGUAGE_MODELS"]

LANGUAGE_MODELS: Registry[PreTrainedConfig] = Registry("language model", "vlmzoo.blocks.language")
"""Each returns the configuration that :func:`vlmzoo.blocks.language.causal_lm.build_language_model` builds."""
