"""Decoder-only language models of transformers, and their head in chunks.

Letters: B sequences, T text positions, D width of a token, V vocabulary, M target positions.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from vlmzoo.blocks.language import LANGUAGE_MODELS
from vlmzoo.blocks.language.in_chunks import in_chunks
from vlmzoo.distributed import max_over_ranks
from vlmzoo.errors import ConfigError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.registry import nearest_hint

__all__ = [
    "apply_head",
    "build_language_model",
    "causal_lm",
    "entropy_of_logits",
    "logprobs_of_logits",
    "target_logprobs",
    "target_statistics",
]

_UNSUPPORTED_HEADS = ("logit_scale", "logits_scaling", "output_multiplier_scale")


@LANGUAGE_MODELS.register(
    "causal_lm",
    source="transformers, AutoModelForCausalLM",
    tiny={
        "model_type": "llama",
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
)
def causal_lm(*, model_type: str, **config: Any) -> PreTrainedConfig:
    """Describe a decoder-only language model of transformers.

    Args:
        model_type: transformers' name of the architecture: ``llama``, ``qwen2``, ``gemma`` …
        config: fields of its configuration; the others keep transformers' defaults.

    Raises:
        ConfigError: if transformers has no such architecture, or it has no such field.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        hint = nearest_hint(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
        raise ConfigError(f"transformers has no causal language model of type `{model_type}`.{hint}")
    described = AutoConfig.for_model(model_type, **config)
    known = set(AutoConfig.for_model(model_type).to_dict())
    for name in config:
        if name not in known and name not in type(described).attribute_map:
            raise ConfigError(f"language model `{model_type}` takes no `{name}`.{nearest_hint(name, known)}")
    for name in _UNSUPPORTED_HEADS:
        if getattr(described, name, None) not in (None, 1, 1.0):
            raise ConfigError(f"language model `{model_type}` scales its logits by `{name}`, which is not supported.")
    return described


def build_language_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the language model that a configuration describes, with random weights."""
    return AutoModelForCausalLM.from_config(config)


def apply_head(language_model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Turn hidden states into logits: ``(..., D)`` to ``(..., V)``."""
    head: Any = language_model.get_output_embeddings()
    logits = head(hidden)
    softcap = getattr(
        language_model.config.get_text_config(), "final_logit_softcapping", None
    )  # Gemma 2, arXiv:2408.00118, section 2
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap


def target_logprobs(
    language_model: PreTrainedModel, hidden: Tensor, labels: Tensor, *, max_chunk_elements: int = 2**24
) -> Tensor:
    """Compute the log-probability of every target as :func:`target_statistics` does, ``(B, T)``."""
    return target_statistics(language_model, hidden, labels, max_chunk_elements=max_chunk_elements)[0]


def target_statistics(
    language_model: PreTrainedModel,
    hidden: Tensor,
    labels: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    max_chunk_elements: int = 2**24,
) -> tuple[Tensor, Tensor | None]:
    """Compute log-probability and entropy where targets are predicted, never holding ``(B, T, V)``.

    The head runs on the target positions only, a chunk at a time; if there is more than one chunk, each is computed
    again in the backward pass, so that the logits of a single one exist at any moment.

    Args:
        language_model: whose head is used.
        hidden: ``(B, T, D)``, the last hidden states.
        labels: ``(B, T)``, ``-100`` where nothing is to be predicted.
        temperature: divides the logits.
        with_entropy: whether the entropy is wanted, too.
        max_chunk_elements: logits in one chunk; the default is 64 MiB of float32.

    Returns:
        ``(B, T)`` in float32, nats: at t the log-probability of ``labels[:, t]`` given what is before it; and likewise
        the entropy of what is predicted there, or None. Both are 0 where nothing is to be predicted.
    """
    is_target = labels[:, 1:] != IGNORED_LABEL
    predictors = hidden[:, :-1][is_target]  # (M, D): the state that predicts a token stands one before it
    targets = labels[:, 1:][is_target]  # (M,)
    chunk_size = max(1, max_chunk_elements // language_model.config.get_text_config().vocab_size)
    num_chunks = max(1, -(-len(targets) // chunk_size))
    if torch.is_grad_enabled():
        num_chunks = max_over_ranks(num_chunks)  # under ZeRO-3 all ranks must use the head equally often

    def run(states: Tensor, own_targets: Tensor) -> Tensor:
        return _chunk_statistics(language_model, states, own_targets, temperature, with_entropy)

    found = run(predictors, targets) if num_chunks == 1 else in_chunks(run, predictors, targets, num_chunks=num_chunks)
    placed = [
        nn.functional.pad(  # nothing stands before the first token
            torch.zeros(is_target.shape, dtype=torch.float32, device=hidden.device).masked_scatter(is_target, row),
            (1, 0),
        )
        for row in found
    ]
    return placed[0], placed[1] if with_entropy else None


def entropy_of_logits(logits: Tensor) -> Tensor:
    """Compute the entropy of what logits predict, in nats: ``(..., V)`` to ``(...)``."""
    normalised = logits.float().log_softmax(dim=-1)
    return -(normalised.exp() * normalised).sum(dim=-1)


def logprobs_of_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the log-probability of every target from logits that exist already.

    Args:
        logits: ``(B, T, V)``.
        labels: ``(B, T)``, ``-100`` where nothing is to be predicted.

    Returns:
        ``(B, T)`` as :func:`target_logprobs` gives it.
    """
    following = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED_LABEL)  # labels move: logits would be copied
    nats = nn.functional.cross_entropy(
        logits.float().flatten(0, 1), following.flatten(), ignore_index=IGNORED_LABEL, reduction="none"
    )
    return nn.functional.pad(-nats.view_as(labels)[:, :-1], (1, 0))


def _chunk_statistics(
    language_model: PreTrainedModel, states: Tensor, targets: Tensor, temperature: float, with_entropy: bool
) -> Tensor:
    """Log-probabilities of one chunk, and entropies: ``(M, D)`` and ``(M,)`` to ``(1 or 2, M)``."""
    logits = apply_head(language_model, states).float()
    if temperature != 1.0:
        logits = logits / temperature
    logprobs = -nn.functional.cross_entropy(logits, targets, reduction="none")
    return torch.stack([logprobs, entropy_of_logits(logits)] if with_entropy else [logprobs])
