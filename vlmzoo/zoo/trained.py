"""What of a model learns: how many parameters, and what the backward pass must read for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo.activations import Reads
from vlmzoo.zoo.anatomy import Anatomy

__all__ = ["Lora", "Trainable", "Trained"]

_PARTS = ("encoder", "projector", "language_model")
_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """LoRA on the language model's matrices (arXiv:2106.09685); its weights have the dtype of the model's.

    Args:
        rank: of the detour.
        targets: which matrices get one, by LLaMA's names.

    Raises:
        ConfigError: if ``rank`` is not positive, or a target is unknown.
    """

    rank: int
    targets: Collection[str] = _LINEARS

    def __post_init__(self) -> None:
        """Check both."""
        if self.rank < 1:
            raise ConfigError(f"`rank` must be positive, but is {self.rank} instead.")
        for name in self.targets:
            if name not in _LINEARS:
                raise ConfigError(
                    f"`targets` must be among {', '.join(_LINEARS)}, but one is `{name}`.{nearest_hint(name, _LINEARS)}"
                )


Trainable = Literal["all"] | float | Lora | Sequence[str]
"""``all``; a fraction of all parameters, wherever they lie; a LoRA; or the names of the parts that learn."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Trained parameters, by where their gradients come from.

    Args:
        encoder: of the image encoder.
        projector: of the projector.
        blocks: of the language model's blocks and last norm.
        head: of the head, or of the table that is tied to it.
        embedding: of an embedding table of its own.
        added: of ``blocks``, those that the model itself does not have.
        encoder_reads: what of the encoder's blocks is trained; None if no gradient enters it.
        language_reads: what of the language model's blocks is trained.
        largest: parameters of the largest trained tensor.
    """

    encoder: int = 0
    projector: int = 0
    blocks: int = 0
    head: int = 0
    embedding: int = 0
    added: int = 0
    encoder_reads: Reads | None = None
    language_reads: Reads = field(default_factory=Reads)
    largest: int = 0

    @classmethod
    def of(cls, anatomy: Anatomy, trainable: Trainable) -> "Trained":
        """Count what learns.

        Raises:
            ConfigError: if ``trainable`` is none of its kinds.
        """
        if isinstance(trainable, Lora):
            return cls._lora(anatomy, trainable)
        if isinstance(trainable, str):
            if trainable != "all":
                raise ConfigError(
                    f"`trainable` must be all, a fraction, a LoRA or parts, but is {trainable!r} instead."
                )
            return cls._parts(anatomy, _PARTS)
        if isinstance(trainable, int | float):
            return cls._fraction(anatomy, float(trainable))
        return cls._parts(anatomy, trainable)

    @classmethod
    def _parts(cls, anatomy: Anatomy, parts: Collection[str]) -> "Trained":
        for name in parts:
            if name not in _PARTS:
                raise ConfigError(f"There is no part named `{name}`.{nearest_hint(name, _PARTS)}")
        if not parts:
            raise ConfigError("`trainable` must name a part that learns, but is empty.")
        has_encoder, has_language = "encoder" in parts, "language_model" in parts
        language = anatomy.language_model
        stacks = [part.stack for part in anatomy.encoders]
        return cls(
            encoder=anatomy.parameters["encoder"] * has_encoder,
            projector=anatomy.projector * ("projector" in parts),
            blocks=(language.parameters + language.norm_parameters) * has_language,
            head=anatomy.table * has_language,
            embedding=anatomy.table * (has_language and not anatomy.is_tied),
            encoder_reads=Reads.everything(*stacks) if has_encoder else None,
            language_reads=Reads.everything(language) if has_language else Reads(),
            largest=anatomy.table if has_language else max(stack.width * stack.inner for stack in stacks),
        )

    @classmethod
    def _fraction(cls, anatomy: Anatomy, fraction: float) -> "Trained":
        if not 0.0 < fraction <= 1.0:
            raise ConfigError(f"`trainable` must be a fraction above 0 and up to 1, but is {fraction} instead.")
        whole = cls._parts(anatomy, _PARTS)
        counts = {name: round(getattr(whole, name) * fraction) for name in _COUNTS}
        return replace(whole, **counts)

    @classmethod
    def _lora(cls, anatomy: Anatomy, lora: Lora) -> "Trained":
        fans = {name: sum(fan) for name, fan in anatomy.language_model.linears.items() if name in lora.targets}
        added = anatomy.language_model.num_layers * lora.rank * sum(fans.values())
        return cls(
            blocks=added,
            added=added,
            language_reads=Reads(linears=frozenset(fans), lora_rank=lora.rank),
            largest=lora.rank * max(fans.values(), default=0),
        )

    @property
    def parameters(self) -> int:
        """All that learn."""
        return sum(getattr(self, name) for name in _COUNTS)


_COUNTS = ("encoder", "projector", "blocks", "head", "embedding")
