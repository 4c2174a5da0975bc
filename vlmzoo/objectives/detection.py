"""The objective of boxes: which cell answers for which object, and how far its score and its box are off.

Letters: K tokens of a micro-batch, Q cells, M boxes, m boxes of one token.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.geometry.assignment import assign
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import Batch, LossOutput, VlmOutput

__all__ = ["DetectionObjective", "focal_loss", "match_boxes", "paired_giou"]

_FOCAL_EPS = 1e-8


def focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of each logit, in nats: cross-entropy that counts less where the model is right already.

    Source: RetinaNet, arXiv:1708.02002, equation 5.

    Args:
        logits: of any shape.
        targets: 0 or 1, of the same shape.
        alpha: weight of the ones; the zeros have 1 - alpha.
        gamma: how much less.
    """
    nats = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    of_truth = probability * targets + (1 - probability) * (1 - targets)
    return (alpha * targets + (1 - alpha) * (1 - targets)) * nats * (1 - of_truth) ** gamma


def paired_giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalised IoU of each pair, within [-1, 1].

    Source: Rezatofighi et al., arXiv:1902.09630, algorithm 1.

    Args:
        boxes: ``(..., 4)``: centre, width and height.
        others: likewise; the two broadcast.

    Returns:
        ``(...)``; -1 where neither box has an area.
    """
    (low, high), (other_low, other_high) = (
        (one[..., :2] - one[..., 2:] / 2, one[..., :2] + one[..., 2:] / 2) for one in (boxes, others)
    )
    inside = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(min=0).prod(dim=-1)
    union = boxes[..., 2:].prod(dim=-1) + others[..., 2:].prod(dim=-1) - inside
    hull = (torch.maximum(high, other_high) - torch.minimum(low, other_low)).prod(dim=-1)
    tiny = torch.finfo(boxes.dtype).tiny
    iou = inside / union.clamp(min=tiny)
    return torch.where(union > 0, iou - (hull - union) / hull.clamp(min=tiny), -1.0)


@torch.no_grad()
def match_boxes(
    logits: Tensor,
    boxes: Tensor,
    truth: Tensor,
    *,
    class_weight: float = 2.0,
    l1_weight: float = 5.0,
    giou_weight: float = 2.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Return the cell of each true box, all different, so that scores and boxes fit best together.

    Source: DETR, arXiv:2005.12872, section 3.1; with the focal cost of Deformable DETR, arXiv:2010.04159, as
    penghao-wu/vstar@4ede664 has it.

    Args:
        logits: ``(Q,)``.
        boxes: ``(Q, 4)``: centre, width and height.
        truth: ``(m, 4)``, m at most Q.
        class_weight: of the focal cost.
        l1_weight: of the absolute difference.
        giou_weight: of the generalised IoU.
        alpha: of the focal cost.
        gamma: likewise.

    Returns:
        ``(m,)``.
    """
    probability = logits.float().sigmoid()
    found = alpha * (1 - probability) ** gamma * -(probability + _FOCAL_EPS).log()
    passed = (1 - alpha) * probability**gamma * -(1 - probability + _FOCAL_EPS).log()
    pairs = boxes.float()[None], truth.float()[:, None]
    costs = (
        class_weight * (found - passed)
        + l1_weight * (pairs[0] - pairs[1]).abs().sum(dim=-1)
        - giou_weight * paired_giou(*pairs)
    )  # (m, Q)
    return torch.tensor(assign(costs.cpu().numpy()), device=logits.device)


@OBJECTIVES.register("detection", source="V*, arXiv:2312.14135; penghao-wu/vstar@4ede664, DETRLoss", tiny={})
@dataclass(frozen=True, kw_only=True)
class DetectionObjective:
    """Scores, absolute differences and generalised IoU of the boxes of ``[LOC]`` tokens.

    The share of scores is the sum over cells, averaged over sequences; that of boxes is averaged over boxes. Tokens
    whose boxes nobody drew have no part.

    Args:
        class_weight: of the focal loss of the scores.
        l1_weight: of the absolute difference of matched boxes.
        giou_weight: of their 1 - GIoU.
        alpha: of the focal loss.
        gamma: likewise.
        compat_giou: True sums 1 - GIoU over all boxes, without an average, and dummies included, which is what the
            authors' code comes to: it multiplies a row of n values by a column of n flags. A token without boxes then
            has the whole image for a dummy.
        adapter: label of the adapter whose boxes are meant; None takes the one that makes boxes.

    Raises:
        ConfigError: if a weight is negative, or ``alpha`` is above 1.
    """

    class_weight: float = 2.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0
    compat_giou: bool = False
    adapter: str | None = None

    def __post_init__(self) -> None:
        """Check the weights."""
        for name in ("class_weight", "l1_weight", "giou_weight", "alpha", "gamma"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` must be 0 or more, but is {getattr(self, name)!r} instead.")
        if self.alpha > 1:
            raise ConfigError(f"`alpha` must be a share from 0 to 1, but is {self.alpha!r} instead.")

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: Mapping[str, float]) -> LossOutput:
        """Compute this micro-batch's share of the loss.

        Args:
            outputs: with ``box_logits`` ``(K, Q)`` and ``boxes`` ``(K, Q, 4)`` among an adapter's outputs.
            batch: with targets ``boxes`` ``(M, 4)``, ``num_boxes`` ``(K,)`` and ``is_boxed`` ``(K,)``.
            denominators: ``boxes`` and ``sequences`` of the whole step.

        Raises:
            ShapeError: if no adapter made boxes, not as many as tokens, or a token has more boxes than cells.
        """
        made = _boxes_of(outputs, self.adapter)
        logits, boxes = made["box_logits"].float(), made["boxes"].float()
        truth = batch.targets["boxes"].split(batch.targets["num_boxes"].tolist())
        is_boxed = batch.targets["is_boxed"]
        _check(logits, truth)
        idle = logits.sum() * 0.0 + boxes.sum() * 0.0  # the graph of a batch without boxes, so that all ranks meet
        scores, l1, giou, num_valid, all_giou = idle, idle, idle, 0, idle
        for token, own in enumerate(truth):
            if is_boxed[token]:
                matched, one = self._token(logits[token], boxes[token], own)
                scores = scores + one
                l1 = l1 + (boxes[token][matched] - own).abs().sum()
                giou = giou + (1 - paired_giou(boxes[token][matched], own)).sum()
                num_valid += len(own)
            elif self.compat_giou:
                dummy = own if len(own) else own.new_tensor([[0.5, 0.5, 1.0, 1.0]])
                matched, _ = self._token(logits[token], boxes[token], dummy)
                all_giou = all_giou + (1 - paired_giou(boxes[token][matched], dummy)).sum()
        num_boxes, num_rows = max(denominators.get("boxes", 0.0), 1.0), max(denominators["sequences"], 1.0)
        giou = (giou + all_giou) * num_valid if self.compat_giou else giou
        parts = {"scores": scores / num_rows, "l1": l1 / num_boxes, "giou": giou / num_boxes}
        weights = {"scores": self.class_weight, "l1": self.l1_weight, "giou": self.giou_weight}
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return LossOutput(loss=loss, metrics={"loss": loss.detach(), **{n: p.detach() for n, p in parts.items()}})

    def _token(self, logits: Tensor, boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Match one token's boxes; return their cells and the focal loss summed over all cells."""
        matched = match_boxes(
            logits,
            boxes,
            truth,
            class_weight=self.class_weight,
            l1_weight=self.l1_weight,
            giou_weight=self.giou_weight,
            alpha=self.alpha,
            gamma=self.gamma,
        )
        targets = torch.zeros_like(logits)
        targets[matched] = 1.0
        return matched, focal_loss(logits, targets, alpha=self.alpha, gamma=self.gamma).sum()


def _boxes_of(outputs: VlmOutput, adapter: str | None) -> Mapping[str, Tensor]:
    made = outputs.adapters or {}
    found = [label for label, values in made.items() if "box_logits" in values and adapter in (None, label)]
    if len(found) != 1:
        raise ShapeError(
            f"Exactly one adapter must have made `box_logits`, but {found or 'none'} did; attach the adapter `search`, "
            "or name the one that is meant in the objective's `adapter`."
        )
    return made[found[0]]


def _check(logits: Tensor, truth: tuple[Tensor, ...]) -> None:
    if len(truth) != len(logits):
        raise ShapeError(f"{len(logits)} tokens must have boxes of their own, but {len(truth)} have.")
    most = max((len(own) for own in truth), default=0)
    if most > logits.shape[-1]:
        raise ShapeError(
            f"A token has {most} boxes, but the detector has only {logits.shape[-1]} cells; leave some out."
        )
