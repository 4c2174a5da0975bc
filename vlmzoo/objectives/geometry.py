"""Objectives of geometry: how far predicted masks are from the true ones.

Letters: K masks of a micro-batch, P_k pixels of mask k, P their sum. A "flat" tensor ``(P,)`` holds all masks one after
the other, since images differ in size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import IGNORED_PIXEL, Batch, LossOutput, VlmOutput

__all__ = ["MaskBceObjective", "MaskDiceObjective", "mask_bce", "mask_dice", "split_flat"]

_LISA_SCALE, _LISA_EPS = 1000.0, 1e-6
_LISA_COUNT_EPS = 1e-8
_NAMES = {"mask": ("mask_logits", "masks", "mask_sizes"), "heat": ("heat_logits", "heat_masks", "heat_sizes")}


def mask_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of one mask over its judged pixels, in nats.

    Source: LISA, arXiv:2308.00692, equation 3, its term BCE.

    Args:
        logits: of any shape.
        targets: 0, 1 or ``IGNORED_PIXEL``, of the same shape.

    Returns:
        ``()``; 0 where no pixel is judged.
    """
    return _bce_of_rows(logits.reshape(1, -1), targets.reshape(1, -1))[0]


def _bce_of_rows(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute ``mask_bce`` of n masks of equally many pixels: ``(n, P)`` and ``(n, P)`` to ``(n,)``."""
    is_judged = targets != IGNORED_PIXEL
    nats = F.binary_cross_entropy_with_logits(logits, (targets == 1).to(logits), reduction="none")
    return (nats * is_judged).sum(dim=1) / is_judged.sum(dim=1).clamp(min=1)


def mask_dice(logits: Tensor, targets: Tensor, *, reduction: Literal["reference", "plain"] = "reference") -> Tensor:
    """One minus the Dice coefficient of one mask, over its judged pixels.

    With p the probability (the sigmoid of a logit) and targets t, it is ``1 - (2 Σ p t + ε) / (Σ p + Σ t + ε)``.

    Source: V-Net, arXiv:1606.04797, section 3; LISA, arXiv:2308.00692, equation 3, whose code divides both sums by
    1000 before it adds ε = 1e-6, so that its ε is 1e-3 here.

    Args:
        logits: of any shape.
        targets: 0, 1 or ``IGNORED_PIXEL``, of the same shape.
        reduction: ``reference`` is LISA's; ``plain`` has ε = 1, as most others do.

    Returns:
        ``()``; 0 where no pixel is judged.
    """
    return _dice_of_rows(logits.reshape(1, -1), targets.reshape(1, -1), reduction=reduction)[0]


def _dice_of_rows(logits: Tensor, targets: Tensor, *, reduction: Literal["reference", "plain"]) -> Tensor:
    """Compute ``mask_dice`` of n masks of equally many pixels: ``(n, P)`` and ``(n, P)`` to ``(n,)``."""
    is_judged = targets != IGNORED_PIXEL
    probabilities = logits.sigmoid() * is_judged
    truth = (targets == 1).to(logits)
    eps, scale = (_LISA_EPS, _LISA_SCALE) if reduction == "reference" else (1.0, 1.0)
    overlap = 2.0 * (probabilities / scale * truth).sum(dim=1)
    total = (probabilities / scale).sum(dim=1) + (truth / scale).sum(dim=1)
    return 1.0 - (overlap + eps) / (total + eps)


@dataclass(frozen=True, kw_only=True)
class _MaskObjective:
    """What the losses of masks share: which adapter's masks they read, and how they average.

    Args:
        adapter: label of the adapter whose masks are meant; None takes the one that makes masks.
        normaliser: ``global`` divides by the masks of the whole step, over all micro-batches and ranks;
            ``micro_batch`` by those of this one and averages over micro-batches and ranks by their number of
            sequences, as the authors do.
        of: ``mask`` for masks, as the seg adapter makes them; ``heat`` for the heat maps of the search adapter, of
            which those without a truth do not count.

    Raises:
        ConfigError: if an option is unknown.
    """

    adapter: str | None = None
    normaliser: Literal["global", "micro_batch"] = "global"
    of: Literal["mask", "heat"] = "mask"

    def __post_init__(self) -> None:
        """Check the options."""
        if self.normaliser not in ("global", "micro_batch"):
            raise ConfigError(f"`normaliser` must be global or micro_batch, but is {self.normaliser!r} instead.")
        if self.of not in _NAMES:
            raise ConfigError(f"`of` must be mask or heat, but is {self.of!r} instead.")

    def _losses_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the losses of n masks of equally many pixels: ``(n, P)`` and ``(n, P)`` to ``(n,)``."""
        raise NotImplementedError

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: Mapping[str, float]) -> LossOutput:
        """Compute this micro-batch's share of the loss.

        A batch without masks gives 0, with a graph through whatever the adapter ran, so that all ranks meet.

        Args:
            outputs: with ``mask_logits`` ``(P,)``, flat, among an adapter's outputs.
            batch: with targets ``masks`` ``(P,)`` and ``mask_sizes`` ``(K, 2)``, height and width of each.
            denominators: ``masks`` and ``sequences`` of the whole step. Heat maps have ``heat_logits``,
                ``heat_masks`` and ``heat_sizes`` instead.

        Raises:
            ShapeError: if there are no mask logits, or not as many as targets.
        """
        made, masks, sizes = _NAMES[self.of]
        logits = _logits_of(outputs, self.adapter, name=made)
        groups = list(_of_equal_size(logits, batch.targets[masks], batch.targets[sizes]))
        total = sum((self._losses_of(*group).sum() for group in groups), start=logits.sum() * 0.0)
        if self.normaliser == "micro_batch":
            share = len(batch.inputs["labels"]) / max(denominators["sequences"], 1.0)
            num_masks = batch.counts.get(masks, sum(len(group) for group, _ in groups))
            loss = total * share / (num_masks + _LISA_COUNT_EPS)
        else:
            loss = total / max(denominators.get(masks, 0.0), 1.0)
        return LossOutput(loss=loss, metrics={"loss": loss.detach()})


@OBJECTIVES.register("mask_bce", source="LISA, arXiv:2308.00692, equation 3", tiny={})
@dataclass(frozen=True, kw_only=True)
class MaskBceObjective(_MaskObjective):
    """Binary cross-entropy of masks: the mean over the pixels of each, then over masks."""

    def _losses_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        return _bce_of_rows(logits, targets)


@OBJECTIVES.register("mask_dice", source="LISA, arXiv:2308.00692, equation 3; V-Net, arXiv:1606.04797", tiny={})
@dataclass(frozen=True, kw_only=True)
class MaskDiceObjective(_MaskObjective):
    """One minus the Dice coefficient of each mask, then the mean over masks.

    Args:
        adapter: label of the adapter whose masks are meant; None takes the one that makes masks.
        normaliser: ``global`` or ``micro_batch``, as for ``mask_bce``.
        reduction: ``reference`` is LISA's, with ε = 1e-3; ``plain`` has ε = 1.

    Raises:
        ConfigError: if an option is unknown.
    """

    reduction: Literal["reference", "plain"] = "reference"

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.reduction not in ("reference", "plain"):
            raise ConfigError(f"`reduction` must be reference or plain, but is {self.reduction!r} instead.")

    def _losses_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        return _dice_of_rows(logits, targets, reduction=self.reduction)


def _of_equal_size(logits: Tensor, targets: Tensor, sizes: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Gather masks of equally many pixels: pairs ``(n, P)`` of logits and targets, so that few kernels do for many."""
    pieces, truth = split_flat(logits, sizes), split_flat(targets, sizes)
    counts = [piece.numel() for piece in pieces]
    if len(set(counts)) == 1:
        yield logits.reshape(len(pieces), -1), targets.reshape(len(pieces), -1)
        return
    for count in dict.fromkeys(counts):
        chosen = [number for number, other in enumerate(counts) if other == count]
        yield tuple(torch.stack([masks[number].flatten() for number in chosen]) for masks in (pieces, truth))  # type: ignore[misc]


def split_flat(flat: Tensor, sizes: Tensor) -> Sequence[Tensor]:
    """Cut a flat tensor ``(P,)`` into K masks ``(H, W)``.

    Args:
        flat: all masks one after the other.
        sizes: ``(K, 2)``, height and width of each.

    Raises:
        ShapeError: if the sizes do not add up to P.
    """
    pairs = [(int(size[0]), int(size[1])) for size in sizes]
    edges = [0, *accumulate(height * width for height, width in pairs)]
    if flat.shape != (edges[-1],):
        raise ShapeError(
            f"{len(pairs)} masks must have {edges[-1]} pixels one after the other, but there are {tuple(flat.shape)}; "
            "the number of [SEG] tokens and that of masks differ, or an image was resized after its mask was made."
        )
    return [flat[start:stop].reshape(pair) for (start, stop), pair in zip(pairwise(edges), pairs, strict=True)]


def _logits_of(outputs: VlmOutput, adapter: str | None, *, name: str) -> Tensor:
    """Return the flat logits of the adapter that is meant, in float32."""
    made = outputs.adapters or {}
    found = [label for label, values in made.items() if name in values and adapter in (None, label)]
    if len(found) != 1:
        wanted = "seg" if name == "mask_logits" else "search"
        raise ShapeError(
            f"Exactly one adapter must have made `{name}`, but {found or 'none'} did; attach the adapter `{wanted}`, "
            "or name the one that is meant in the objective's `adapter`."
        )
    return made[found[0]][name].float()
