"""pycocotools: average precision of detections."""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.errors import DataError, MissingExtraError

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
    """

    overall: Mapping[str, float]
    per_class: Mapping[str, float]
    without_annotation: tuple[str, ...]

    @property
    def mean(self) -> float:
        """The mean over the classes that have annotations; NaN without any."""
        return math.fsum(self.per_class.values()) / len(self.per_class) if self.per_class else math.nan


def average_precision(
    truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], *, classes: Sequence[str] | None = None
) -> DetectionScores:
    """Measure boxes against annotations: IoU from 0.50 to 0.95, all areas, at most 100 boxes an image.

    Args:
        truth: ``{images, annotations, categories}`` in COCO's form.
        predictions: ``{image_id, category_id, bbox, score}``.
        classes: names of the classes that are looked at; None for all.

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
        evaluation = COCOeval(annotations, annotations.loadRes([dict(p) for p in predictions]), "bbox")
        evaluation.params.catIds = sorted(ids[name] for name in names)
        evaluation.evaluate()
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
    )
