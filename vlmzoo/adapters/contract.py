"""The contract between a base and its adapters: what an adapter declares, is given, and gives back.

Letters: B sequences, T text positions, D width of a token.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from vlmzoo.data.adapter_inputs import AdapterInputs

__all__ = ["Adapter", "AdapterContext", "GenerationContext", "Host"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """What an adapter is told of the base before it is built.

    Args:
        family: folder under ``vlmzoo.models`` that composes the base; ``native`` for transformers' own classes.
        model_type: transformers' name of the architecture.
        hidden_size: D, width of the language model's tokens.
        num_layers: blocks of the language model; hidden states are numbered 0 (embeddings) to ``num_layers``.
        prefixes: names of the base's parts, and what the names of their parameters begin with.
    """

    family: str
    model_type: str
    hidden_size: int
    num_layers: int
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AdapterContext:
    """What an adapter is given in a forward pass.

    Args:
        input_ids: ``(B, T)``, or None where the caller gave embeddings.
        attention_mask: ``(B, T)``, or None.
        labels: ``(B, T)``, or None.
        hidden_states: ``(B, T, D)`` by layer, those that the adapter declared; the last one is -1 and normed.
        inputs: the adapter's own inputs, by name.
        token_ids: ids of the adapter's special tokens.
    """

    input_ids: Tensor | None
    attention_mask: Tensor | None
    labels: Tensor | None
    hidden_states: Mapping[int, Tensor]
    inputs: Mapping[str, Tensor]
    token_ids: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class GenerationContext:
    """What an adapter is given when a generation is over.

    Args:
        sequences: ``(B, L)``, prompts and what was generated; B counts completions.
        prompt_length: positions of the prompts, padding included.
        places: ``(K, 2)`` by token: row and column of each of the adapter's tokens, row by row, prompts included.
        states: ``(K, D)`` by token: the last hidden states, after the final norm, that predicted them.
        inputs: the adapter's own inputs, by name, for the prompts.
        token_ids: ids of the adapter's special tokens.
    """

    sequences: Tensor
    prompt_length: int
    places: Mapping[str, Tensor]
    states: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    token_ids: Mapping[str, int]


class Adapter(nn.Module):
    """The base class of all adapters.

    A subclass declares what it needs as class attributes (or sets them in ``__init__``), builds its modules from the
    ``host`` and computes its outputs in ``forward``. Attached and untriggered, it leaves the base's logits as they
    were, bit for bit.

    Args:
        host: the base.
    """

    special_tokens: Sequence[str] = ()
    """Tokens that it adds to the vocabulary, in this order; one that the tokenizer already knows is used as it is."""
    input_names: Sequence[str] = ()
    """Extra keyword arguments of the model's forward."""
    hidden_layers: Sequence[int] = ()
    """Hidden states that it reads: -1 is the last, after the final norm; 0 the embeddings."""
    loss_terms: Mapping[str, Mapping[str, Any]] = {}
    """Objectives by name, ``{type: …, weight: …}``, that a run adds to its own unless it says otherwise."""
    trainable: Sequence[str] = ("",)
    """Beginnings of the names of its own parameters that learn by default; the empty one stands for all."""
    listens: ClassVar[bool] = False
    """Whether it turns what was generated into outputs of its own, in ``after_generation``."""
    transient_options: ClassVar[Sequence[str]] = ()
    """Options that say where weights come from at the start; a saved folder does not repeat them."""
    shapes_images: ClassVar[bool] = False
    """Whether it turns some images into visual tokens of its own, in ``visual_tokens``; of composed bases only."""
    whole: Sequence[str] = ()
    """Parts of the base that learn whole although an adapter freezes the base."""
    freezes_base: ClassVar[bool] = False
    """Whether the base's weights stand still by default while it is attached."""

    def __init__(self, *, host: Host) -> None:
        super().__init__()
        self.host = host

    @classmethod
    def check_host(cls, host: Host, **options: Any) -> None:
        """Say whether a base can hold this adapter, before any weight is read.

        Args:
            host: the base.
            options: what the config says of the adapter.

        Raises:
            ConfigError: if it cannot, with the reason.
        """

    def attach(self, model: nn.Module) -> None:
        """Change the base, if the adapter lives inside it; called once, after the modules of the base exist."""

    def make_inputs(self) -> AdapterInputs | None:
        """Return what makes its inputs from samples, or None if tokens and pictures are enough."""
        return None

    def forward(self, context: AdapterContext) -> dict[str, Tensor]:
        """Compute the adapter's outputs, by name.

        It runs when one of its inputs is given, and always if it declares none. On a cluster it must use its
        parameters equally often on all ranks.
        """
        return {}

    def visual_tokens(
        self, feature_maps: Sequence[Tensor], project: Callable[[list[Tensor]], Tensor], inputs: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return the visual tokens of each image, ``(N_i, D)``; called where ``shapes_images`` is set.

        Args:
            feature_maps: of the base's encoders, each ``(images, C_k, h_k, w_k)``.
            project: what the base makes of them, ``(images, N, D)``.
            inputs: the adapter's own inputs, by name; none where the images are as ever.
        """
        return list(project(list(feature_maps)))

    def starting_weights(self) -> Mapping[str, str]:
        """Return published weights to start from: a file or a folder for each submodule, by name."""
        return {}

    def after_generation(self, context: GenerationContext) -> dict[str, Any]:
        """Compute outputs from what was generated, by name; called where ``listens`` is set and inputs were given."""
        return {}
