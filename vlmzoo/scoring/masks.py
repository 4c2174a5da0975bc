"""How well masks were found: the gIoU and the cIoU of referring and reasoning segmentation.

Letters: K masks of an image, (H, W) pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError, ShapeError
from vlmzoo.scoring.statistics import Interval

__all__ = ["MaskOverlap", "cumulative_interval", "cumulative_iou", "mask_overlap", "mean_iou"]

_LISA_EPS, _LISA_CUMULATIVE_EPS, _LISA_COUNT_EPS = 1e-5, 1e-10, 1e-5
_CLASSES = {"background": 0, "foreground": 1}


@dataclass(frozen=True)
class MaskOverlap:
    """The pixels that two masks share, and those that either has.

    Args:
        intersection: their number.
        union: their number.
    """

    intersection: int
    union: int

    def iou(self, *, compat: bool = False) -> float:
        """Return intersection over union; 1 where both masks are empty.

        Source: LISA, arXiv:2308.00692, section 4.1; gRefCOCO, arXiv:2306.00968, for empty masks.

        Args:
            compat: add 1e-5 to the union, as the authors' code does.
        """
        if self.union == 0:
            return 1.0
        return self.intersection / (self.union + (_LISA_EPS if compat else 0.0))


def mask_overlap(
    predicted: NDArray[Any],
    target: NDArray[Any],
    *,
    ignored: NDArray[np.bool_] | None = None,
    compat: bool = False,
    of: str = "foreground",
) -> MaskOverlap:
    """Compare two masks pixel by pixel.

    Args:
        predicted: ``(H, W)``; what is not 0 belongs to the mask.
        target: ``(H, W)`` likewise; with ``compat`` the authors' labels: 0, 1, 255 where nobody judged, and more than 1
            where parts of a target were summed up, which then equals no prediction.
        ignored: ``(H, W)``, pixels that count on neither side.
        compat: read ``target`` as the authors do.
        of: ``foreground``, or ``background`` for the pixels outside the masks.

    Raises:
        DataError: if ``of`` is neither.
        ShapeError: if the shapes differ.
    """
    if of not in _CLASSES:
        raise DataError(f"`of` must be foreground or background, but is {of!r} instead.")
    for name, array in (("target", target), ("ignored", ignored)):
        if array is not None and array.shape != predicted.shape:
            raise ShapeError(
                f"`{name}` must have the shape of the prediction, {predicted.shape}, but has {array.shape} instead; "
                "compare masks in the frame of the original image."
            )
    labels = target.astype(np.int64) if compat else (target != 0).astype(np.int64)
    judged = labels != 255 if ignored is None else (labels != 255) & ~ignored
    number = _CLASSES[of]
    said, meant = ((predicted != 0) == number) & judged, (labels == number) & judged
    intersection = int(np.count_nonzero(said & meant))
    return MaskOverlap(intersection, int(np.count_nonzero(said)) + int(np.count_nonzero(meant)) - intersection)


def mean_iou(overlaps: Sequence[MaskOverlap], *, compat: bool = False, is_reduced: bool = False) -> float:
    """Return gIoU, the mean over masks of their IoU, as LISA's released evaluation sums it, to be compared with.

    Benchmarks tell the same mean with an interval, ``bootstrap_interval`` of each mask's ``iou``.

    Source: LISA, arXiv:2308.00692, section 4.1.

    Args:
        overlaps: of all masks; at least one.
        compat: the authors' small terms.
        is_reduced: with ``compat``, the value after the authors' sum over ranks, which adds 1e-5 to the count.

    Raises:
        DataError: if there is none.
    """
    if not overlaps:
        raise DataError("gIoU needs at least one mask, but there is none.")
    total = sum(overlap.iou(compat=compat) for overlap in overlaps)
    return total / (len(overlaps) + (_LISA_COUNT_EPS if compat and is_reduced else 0.0))


def cumulative_iou(overlaps: Iterable[MaskOverlap], *, compat: bool = False) -> float:
    """Return cIoU: the sum of intersections over the sum of unions; 1 where all masks are empty.

    Source: LISA, arXiv:2308.00692, section 4.1.

    Args:
        overlaps: of all masks.
        compat: the authors' small term, with which the value of empty masks is 0.
    """
    pairs = [(overlap.intersection, overlap.union) for overlap in overlaps]
    shared, total = (sum(values) for values in zip(*pairs, strict=True)) if pairs else (0, 0)
    if compat:
        return shared / (total + _LISA_CUMULATIVE_EPS)
    return shared / total if total else 1.0


def cumulative_interval(overlaps: Sequence[MaskOverlap], *, seed: int = 0, num_resamples: int = 2000) -> Interval:
    """Return cIoU with its 95 % percentile bootstrap interval over the masks.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Args:
        overlaps: of all masks; at least one.
        seed: of the resampling.
        num_resamples: how many.
    """
    pairs = np.array([(overlap.intersection, overlap.union) for overlap in overlaps], dtype=np.float64)  # (N, 2)
    mean, generator = cumulative_iou(overlaps), np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(num_resamples):
        drawn = pairs[generator.integers(0, len(pairs), size=len(pairs))]
        shared, total = float(drawn[:, 0].sum()), float(drawn[:, 1].sum())
        values.append(shared / total if total else 1.0)
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean), num=len(pairs))
