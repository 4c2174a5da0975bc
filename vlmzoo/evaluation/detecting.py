"""Measuring what a model finds: one question for each image and class, average precision over all of them.

Source: COCO's evaluation, arXiv:1405.0312; Visual-RFT, arXiv:2503.01785, section 4.2 (how answers become boxes).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import Expected
from vlmzoo.evaluation.detection import coco_predictions, norm1000_to_xywh_px
from vlmzoo.evaluation.generation import complete
from vlmzoo.evaluation.records import Generation, generation_of
from vlmzoo.integrations.coco_eval import DetectionScores, average_precision
from vlmzoo.scoring import SCORES, Score
from vlmzoo.scoring.box_lists import detections_in
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample

__all__ = ["DetectionBenchmark"]

_NEEDED = ("image_id", "category", "category_id", "size_px")


@dataclass(frozen=True, kw_only=True)
class DetectionBenchmark:
    """A benchmark whose answers are boxes in thousandths of the image's sides; a subclass gives the questions.

    A question's ``meta`` has ``image_id``, ``category``, ``category_id`` and ``size_px`` (width, height); its
    ``reference`` is a solution. Scores are ``ap`` (IoU 0.50 to 0.95) and ``ap50``, means over the classes that have
    annotations; then the mean of each score of single answers, and ``unreadable``, the share of answers without a
    valid list.

    Args:
        score: scores of single answers, by name or as ``{type: name, …}``.
        max_new_tokens: how long a completion may be.
        num_resamples: how often images are drawn anew for the intervals of average precision.
        expected: ``{value: …, source: …}``, what a paper reports for ``ap``.
    """

    score: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = "iou"
    max_new_tokens: int = 1024
    num_resamples: int = 200
    expected: Expected | None = None
    _scores: Mapping[str, Score] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the scores of single answers.

        Raises:
            ConfigError: if one is named twice, or cannot be built.
        """
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        names = [spec["type"] for spec in self.score_specs]
        if len(set(names)) < len(names):
            raise ConfigError(f"`score` must name each score once, but is {names} instead.")
        object.__setattr__(self, "_scores", {spec["type"]: SCORES.build(spec) for spec in self.score_specs})

    @property
    def score_specs(self) -> list[dict[str, Any]]:
        """What single answers are scored with, as a configuration would spell it."""
        given = [self.score] if isinstance(self.score, str | Mapping) else list(self.score)
        return [{"type": score} if isinstance(score, str) else dict(score) for score in given]

    @property
    def scores(self) -> Mapping[str, Score]:
        """Scores of single answers; average precision is of all of them."""
        return self._scores

    def questions(self) -> Iterator[Sample]:
        """Return the questions, one for each image and class that is asked for."""
        raise NotImplementedError

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterator[Generation]:
        """Answer B questions at once; the boxes stand in ``meta`` as COCO's evaluation takes them.

        Raises:
            DataError: if a question does not say what it is about.
        """
        for sample in samples:
            missing = [name for name in _NEEDED if name not in sample.meta]
            if missing:
                raise DataError(f"Question `{sample.id}` must have `{missing[0]}` in its `meta`, but has not.")
        completions = complete(model, processor, samples, max_new_tokens=self.max_new_tokens)
        for sample, completion in zip(samples, completions, strict=True):
            yield self.judged(generation_of(sample, completion, self._scores))

    def judged(self, generation: Generation) -> Generation:
        """Read the boxes of an answer."""
        width, height = generation.meta["size_px"]
        predictions, dropped = coco_predictions(
            generation.completion,
            image_id=generation.meta["image_id"],
            category_id=generation.meta["category_id"],
            width=width,
            height=height,
        )
        scores = {**generation.scores, "unreadable": float(dropped["unreadable"])}
        meta = {**generation.meta, "predictions": predictions, "dropped_boxes": dropped["empty"]}
        return replace(generation, scores=scores, meta=meta)

    def average_precision(self, generations: Sequence[Generation], *, seed: int = 0) -> DetectionScores:
        """Measure all answers at once, class by class."""
        predictions = [prediction for one in generations for prediction in one.meta["predictions"]]
        truth = _truth_of(generations)
        return average_precision(truth, predictions, num_resamples=self.num_resamples, seed=seed)

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> dict[str, Interval]:
        """Return ``ap`` and ``ap50`` with their intervals, then the means over answers.

        Raises:
            DataError: if no object of the classes that are asked for is annotated.
        """
        found = self.average_precision(generations, seed=seed).intervals
        if not found:
            raise DataError("Average precision needs annotated objects of the classes that are asked for; there are 0.")
        named = {"ap": found["AP"], "ap50": found["AP50"]}
        means = {
            name: bootstrap_interval([one.scores[name] for one in generations], seed=seed)
            for name in generations[0].scores
        }
        return {**named, **means}


def _truth_of(generations: Sequence[Generation]) -> dict[str, Any]:
    """Return the solutions of the questions as annotations in COCO's form."""
    images: dict[int, dict[str, Any]] = {}
    categories: dict[int, str] = {}
    annotations: list[dict[str, Any]] = []
    for one in generations:
        (width, height), image_id = one.meta["size_px"], one.meta["image_id"]
        images[image_id] = {"id": image_id, "width": width, "height": height}
        categories[one.meta["category_id"]] = one.meta["category"]
        for detection in detections_in(str(one.reference), needs_confidence=False) or ():
            box = norm1000_to_xywh_px(detection.edges, width=width, height=height)
            annotations.append(
                {
                    "id": len(annotations) + 1,  # pycocotools takes an annotation 0 for none
                    "image_id": image_id,
                    "category_id": one.meta["category_id"],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    named = [{"id": id, "name": name} for id, name in categories.items()]
    return {"images": list(images.values()), "annotations": annotations, "categories": named}
