"""pycocotools: average precision of detections, and how sure it is.

Letters: T thresholds of IoU (0.50 to 0.95), M boxes of one class in all images, I images.
"""

import contextlib
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmzoo.errors import DataError, MissingExtraError
from vlmzoo.scoring.statistics import Interval

__all__ = ["DetectionScores", "average_precision"]

_NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


@dataclass(frozen=True, kw_only=True)
class DetectionScores:
    """What COCO's evaluation gives.

    Args:
        overall: ``AP``, ``AP50``, ``AP75``, ``AP_small``, ``AP_medium``, ``AP_large``, within [0, 1]; -1 where there
            is nothing of a size.
        per_class: AP by the name of the class, within [0, 1]; classes without an annotation are left out.
        without_annotation: their names.
        intervals: of the mean over classes, ``AP`` and ``AP50``, with images drawn anew; none unless asked for.
    """

    overall: Mapping[str, float]
    per_class: Mapping[str, float]
    without_annotation: tuple[str, ...]
    intervals: Mapping[str, Interval] = field(default_factory=dict[str, Interval])

    @property
    def mean(self) -> float:
        """The mean over the classes that have annotations; NaN without any."""
        return math.fsum(self.per_class.values()) / len(self.per_class) if self.per_class else math.nan


def average_precision(
    truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    *,
    classes: Sequence[str] | None = None,
    not_exhaustive: Collection[tuple[int, int]] = (),
    num_resamples: int = 0,
    seed: int = 0,
) -> DetectionScores:
    """Measure boxes against annotations: IoU from 0.50 to 0.95, all areas, at most 100 boxes an image.

    Args:
        truth: ``{images, annotations, categories}`` in COCO's form.
        predictions: ``{image_id, category_id, bbox, score}``.
        classes: names of the classes that are looked at; None for all.
        not_exhaustive: pairs of image and category of which some objects are not annotated: boxes there that match
            nothing are neither right nor wrong (LVIS, arXiv:1908.03195, section 2.2).
        num_resamples: how often images are drawn anew for the intervals; 0 for none.
        seed: of the draws.

    Raises:
        DataError: if a class is unknown.
        MissingExtraError: if pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO  # pyright: ignore[reportMissingImports]
        from pycocotools.cocoeval import COCOeval  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError.for_package("pycocotools", "eval") from error
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    names = list(ids) if classes is None else list(classes)
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise DataError(
            f"`classes` names `{unknown[0]}`, which is none of the {len(ids)} categories of the annotations."
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        annotations: Any = COCO()  # its annotations are narrower than what it takes
        annotations.dataset = {"info": {}, **truth}
        annotations.createIndex()
        evaluation = COCOeval(annotations, _loaded(annotations, predictions), "bbox")
        evaluation.params.catIds = sorted(ids[name] for name in names)
        evaluation.evaluate()
        _ignore_unmatched(evaluation, not_exhaustive)
        evaluation.accumulate()
        evaluation.summarize()
    precision: Any = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class)
    per_class: dict[str, float] = {}
    for place, id in enumerate(evaluation.params.catIds):
        valid = precision[:, :, place][precision[:, :, place] > -1]
        if valid.size:
            per_class[next(name for name in names if ids[name] == id)] = float(valid.mean())
    return DetectionScores(
        overall=dict(zip(_NAMES, map(float, evaluation.stats[:6]), strict=True)),
        per_class=per_class,
        without_annotation=tuple(name for name in names if name not in per_class),
        intervals=_intervals(evaluation, num_resamples, seed) if num_resamples and per_class else {},
    )


def _loaded(annotations: Any, predictions: Sequence[Mapping[str, Any]]) -> Any:
    """Return the predictions as pycocotools wants them; it cannot load none at all."""
    if predictions:
        return annotations.loadRes([dict(prediction) for prediction in predictions])
    empty: Any = type(annotations)()
    empty.dataset = {**annotations.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _ignore_unmatched(evaluation: Any, pairs: Collection[tuple[int, int]]) -> None:
    for found in evaluation.evalImgs:
        if found is not None and (found["image_id"], found["category_id"]) in pairs:
            found["dtIgnore"] = np.logical_or(found["dtIgnore"], found["dtMatches"] == 0)


@dataclass(frozen=True)
class _Class:
    """The boxes of one class, the most confident first.

    Args:
        images: ``(M,)``, place of each box's image.
        hits: ``(T, M)``, 1 where it is right.
        misses: ``(T, M)``, 1 where it is wrong.
        wanted: ``(I,)``, annotated boxes of each image.
    """

    images: NDArray[np.int64]
    hits: NDArray[np.float64]
    misses: NDArray[np.float64]
    wanted: NDArray[np.float64]

    def precision(self, weights: NDArray[np.float64], recalls: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return AP at each threshold, ``(T,)``, where images count ``weights`` ``(I,)`` times; None without a box."""
        wanted = float(weights @ self.wanted)
        if not wanted:
            return None
        weight = weights[self.images]
        hits, misses = (np.cumsum(found * weight, axis=1) for found in (self.hits, self.misses))
        precision = hits / np.maximum(hits + misses, np.spacing(1.0))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        envelope = np.pad(envelope, ((0, 0), (0, 1)))  # a recall that is not reached has precision 0
        places = [np.searchsorted(row / wanted, recalls, side="left") for row in hits]
        return np.array([row[place].mean() for row, place in zip(envelope, places, strict=True)])


def _intervals(evaluation: Any, num_resamples: int, seed: int) -> dict[str, Interval]:
    """Return ``AP`` and ``AP50``, means over classes, with intervals; an image drawn twice counts twice."""
    classes, recalls = _classes(evaluation), np.asarray(evaluation.params.recThrs, dtype=np.float64)
    num_images = len(evaluation.params.imgIds)
    draws = np.random.default_rng(seed).multinomial(num_images, [1 / num_images] * num_images, size=num_resamples)
    means: list[NDArray[np.float64]] = []
    for weights in (np.ones(num_images), *draws.astype(np.float64)):
        found = [ap for one in classes if (ap := one.precision(weights, recalls)) is not None]
        means.append(np.mean(found, axis=0) if found else np.zeros(len(evaluation.params.iouThrs)))
    table = np.stack(means)  # (1 + resamples, T)
    told: dict[str, Interval] = {}
    for name, values in (("AP", table.mean(axis=1)), ("AP50", table[:, 0])):
        mean = float(values[0])
        low, high = np.quantile(values[1:], _levels(values[1:], mean))
        told[name] = Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean), num=num_images)
    return told


def _levels(resampled: NDArray[np.float64], mean: float) -> list[float]:
    """Return the levels of a 95 % interval, corrected for the bias of a score that takes maxima.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 14.3, with acceleration 0.
    """
    normal, num = NormalDist(), len(resampled)
    share = (np.sum(resampled < mean) + np.sum(resampled == mean) / 2 + 0.5) / (num + 1)
    return [normal.cdf(2 * normal.inv_cdf(float(share)) + normal.inv_cdf(level)) for level in (0.025, 0.975)]


def _classes(evaluation: Any) -> list[_Class]:
    """Sort what pycocotools matched, class by class, over all areas."""
    params = evaluation.params
    num_images, num_areas, num_thresholds = len(params.imgIds), len(params.areaRng), len(params.iouThrs)
    classes: list[_Class] = []
    for place in range(len(params.catIds)):
        start = place * num_areas * num_images
        found = evaluation.evalImgs[start : start + num_images]
        wanted = [0.0 if one is None else float(np.sum(~np.asarray(one["gtIgnore"], dtype=bool))) for one in found]
        kept = [(image, one) for image, one in enumerate(found) if one is not None and len(one["dtScores"])]
        images = np.array([image for image, one in kept for _ in one["dtScores"]], dtype=np.int64)
        order = np.argsort([-score for _, one in kept for score in one["dtScores"]], kind="mergesort")
        shape = (num_thresholds, len(images))
        matched = np.hstack([one["dtMatches"] for _, one in kept]) > 0 if kept else np.zeros(shape, dtype=bool)
        counts = ~np.hstack([one["dtIgnore"] for _, one in kept]).astype(bool) if kept else matched
        classes.append(
            _Class(
                images=images[order] if kept else images,
                hits=(matched & counts)[:, order].astype(np.float64) if kept else np.zeros(shape),
                misses=(~matched & counts)[:, order].astype(np.float64) if kept else np.zeros(shape),
                wanted=np.array(wanted),
            )
        )
    return classes
