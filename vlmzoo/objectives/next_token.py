"""Next-token prediction: the cross-entropy of supervised fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from vlmzoo.data.packing import Segments
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import IGNORED_LABEL, Batch, LossOutput, VlmOutput

__all__ = ["NextTokenObjective"]


@OBJECTIVES.register("next_token", source="LLaVA, arXiv:2304.08485, equation 1", tiny={})
@dataclass(frozen=True, kw_only=True)
class NextTokenObjective:
    """Mean negative log-probability of the target tokens.

    Args:
        normaliser: ``global_token`` divides by the number of targets of the whole step, over all micro-batches
            and ranks; ``sequence`` averages each sequence over its own targets, then over all sequences.

    Raises:
        ConfigError: if ``normaliser`` is neither.
    """

    learns_from: ClassVar[str] = "answers"

    normaliser: Literal["global_token", "sequence"] = "global_token"

    def __post_init__(self) -> None:
        """Check the options."""
        if self.normaliser not in ("global_token", "sequence"):
            raise ConfigError(f"`normaliser` must be global_token or sequence, but is {self.normaliser!r} instead.")

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: Mapping[str, float]) -> LossOutput:
        """Compute this micro-batch's share of the loss, in nats.

        Args:
            outputs: with ``logprobs`` of shape ``(B, T)``.
            batch: with ``labels`` of shape ``(B, T)``.
            denominators: ``tokens`` and ``sequences`` of the whole step.

        Raises:
            ShapeError: if the outputs hold no ``logprobs``, or of another shape than the labels.
        """
        labels = batch.inputs["labels"]
        if outputs.logprobs is None or outputs.logprobs.shape != labels.shape:
            found = None if outputs.logprobs is None else tuple(outputs.logprobs.shape)
            raise ShapeError(f"`logprobs` must have the shape of `labels`, {tuple(labels.shape)}, but has {found}.")
        logprobs = outputs.logprobs
        packed = Segments.of(batch.inputs.get("position_ids"), attention_mask=batch.inputs.get("attention_mask"))
        if packed is not None:
            logprobs, labels = packed.split(logprobs), packed.split(labels, fill=IGNORED_LABEL)
        nats = -logprobs.sum(dim=1)  # (B,), targets only: the others are 0
        if self.normaliser == "sequence":
            nats = nats / (labels[:, 1:] != IGNORED_LABEL).sum(dim=1).clamp(min=1)
            loss = nats.sum() / max(denominators["sequences"], 1.0)
        else:
            loss = nats.sum() / max(denominators["tokens"], 1.0)
        return LossOutput(loss=loss, metrics={"loss": loss.detach()})
