"""Reasoning grounding on ReasonSeg as Visual-RFT measures it: a box, and the mask that SAM makes of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlmzoo.blocks.decoders import DECODERS
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.digests import files_digest, weights_digest
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import TINY
from vlmzoo.data.sources.virft_lisa import VirftLisaSource
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.detection import corners_iou, unit_to_pixels
from vlmzoo.evaluation.generation import complete
from vlmzoo.evaluation.records import Generation, generation_of
from vlmzoo.geometry import Frame, Mask, encode_rle
from vlmzoo.models.sam.boxes import BoxSegmenter
from vlmzoo.models.sam.weights import load_published
from vlmzoo.scoring.grounding import first_corners
from vlmzoo.scoring.masks import MaskOverlap, cumulative_interval, mask_overlap
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample

__all__ = ["VirftGroundingBenchmark"]


@BENCHMARKS.register(
    "virft_grounding",
    source="Visual-RFT, arXiv:2503.01785, section 4.3 and table 6",
    tiny={"root": str(TINY / "lisa" / "reason_seg" / "ReasonSeg"), "split": "train", "max_new_tokens": 8},
)
@dataclass(frozen=True, kw_only=True)
class VirftGroundingBenchmark:
    """One box for each image of ReasonSeg; ``box_iou``, the mean IoU, is the main score.

    With a mask decoder, the box prompts SAM, and the mask is compared with the polygons: ``mask_giou``, the mean IoU,
    and ``mask_ciou``, all intersections over all unions. An answer without a box has IoU 0, and its object counts in
    the union. Figures do not compare with LISA's, which merge all polygons of a target by default and leave out the
    ignored ones; ``first_shape_only: false`` comes nearer to that.

    Args:
        root: folder that holds ``train``, ``val`` and ``test``.
        split: one of them.
        first_shape_only: whether the truth is the first polygon, as the authors measure; else all of the target's.
        first_text_only: whether the first instruction alone is asked, as the authors do.
        sam: ``{type: sam-vit-h, weights: PATH, …}``; None measures boxes alone.
        max_new_tokens: how long a completion may be.
        num_questions: how many are asked, from the first on; None for all.
        expected: ``{value: …, source: …}``, what a paper reports for ``box_iou``.

    Raises:
        ConfigError: if the mask decoder takes no boxes or names no weights, or ``num_questions`` is out of range.
        DataError: if the set is not there.
    """

    root: str
    split: str = "test"
    first_shape_only: bool = True
    first_text_only: bool = True
    sam: Mapping[str, Any] | None = None
    max_new_tokens: int = 128
    num_questions: int | None = None
    expected: Expected | None = None
    _source: VirftLisaSource = field(init=False, repr=False, compare=False)
    _segmenters: dict[str, BoxSegmenter] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Open the set, and check that the mask decoder can be built; it is built when it is first needed."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        source = VirftLisaSource(
            root=self.root,
            split=self.split,
            first_shape_only=self.first_shape_only,
            first_text_only=self.first_text_only,
        )
        object.__setattr__(self, "_source", source)
        size = len(source.items)
        if not 1 <= (size if self.num_questions is None else self.num_questions) <= size:
            raise ConfigError(f"`num_questions` must be from 1 to {size}, but is {self.num_questions} instead.")
        object.__setattr__(self, "num_questions", size if self.num_questions is None else self.num_questions)
        if self.sam is not None:
            DECODERS.check({name: value for name, value in self.sam.items() if name != "weights"})
            if not self.sam.get("weights"):
                raise ConfigError("`sam` must name its `weights`, a file or folder of published ones, but does not.")

    @property
    def identity(self) -> Mapping[str, Any]:
        """What files hold, not where they lie."""
        sam = None if self.sam is None else {name: value for name, value in self.sam.items() if name != "weights"}
        if self.sam is not None and sam is not None:
            sam["weights_digest"] = weights_digest(self.sam["weights"])
        return {
            "type": "virft_grounding",
            "split": self.split,
            "annotations_digest": files_digest(dict.fromkeys(path for path, _ in self._source.items)),
            "first_shape_only": self.first_shape_only,
            "first_text_only": self.first_text_only,
            "sam": sam,
            "num_questions": self.num_questions,
            "max_new_tokens": self.max_new_tokens,
        }

    @property
    def scores(self) -> Mapping[str, Any]:
        """No score reads an answer's text alone."""
        return {}

    def questions(self) -> Iterator[Sample]:
        """Ask image by image."""
        for position in range(self.num_questions or 0):
            yield prompt_of(self._source.sample(position))

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterator[Generation]:
        """Answer B questions at once."""
        completions = complete(model, processor, samples, max_new_tokens=self.max_new_tokens)
        for sample, completion in zip(samples, completions, strict=True):
            yield self.judged(generation_of(sample, completion, {}), load_image(sample.images[0]), device=model.device)

    def judged(self, generation: Generation, picture: Image.Image, *, device: Any = "cpu") -> Generation:
        """Compare the box of an answer, and its mask, with the truth."""
        width, height = picture.size
        corners = first_corners(generation.completion)
        is_box = corners is not None and corners[2] > corners[0] and corners[3] > corners[1]
        unit = [edge / 1000 for edge in corners] if corners is not None and is_box else None
        box = None if unit is None else [edge * side for edge, side in zip(unit, (width, height) * 2, strict=True)]
        truth = generation.meta["box_xyxy_px"]
        scores = {"box_iou": 0.0 if box is None else corners_iou(box, truth), "without_box": float(box is None)}
        meta = {name: value for name, value in generation.meta.items() if name != "polygons_px"}
        if self.sam is not None:
            target = _filled(generation.meta["polygons_px"], width=width, height=height)
            found = np.zeros_like(target)
            if unit is not None:
                prompt = unit_to_pixels(unit, width=width, height=height)
                found = self._segmenter(device)(picture, [prompt])[0]
            overlap = mask_overlap(found, target)
            scores |= {"mask_giou": overlap.iou()}
            scores |= {"intersection": float(overlap.intersection), "union": float(overlap.union)}
            frame = Frame.original(generation.id, width=width, height=height)
            meta |= {"predicted_rle": encode_rle(Mask(found, frame=frame))}
        return replace(generation, scores=scores, meta={**meta, "predicted_box_xyxy_px": box})

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> dict[str, Interval]:
        """Return ``box_iou``, then the masks' scores, then the share of answers without a box."""
        names = ["box_iou", *(["mask_giou"] if self.sam is not None else []), "without_box"]
        found = {name: bootstrap_interval([one.scores[name] for one in generations], seed=seed) for name in names}
        if self.sam is not None:
            overlaps = [MaskOverlap(int(g.scores["intersection"]), int(g.scores["union"])) for g in generations]
            found["mask_ciou"] = cumulative_interval(overlaps, seed=seed)
        return found

    def _segmenter(self, device: Any) -> BoxSegmenter:
        """Build the mask decoder once, and fill it."""
        if "sam" not in self._segmenters:
            spec = dict(self.sam or {})
            weights = spec.pop("weights")
            decoder = DECODERS.build(spec)
            load_published(decoder, weights)
            self._segmenters["sam"] = BoxSegmenter(decoder, device=device)
        return self._segmenters["sam"]


def _filled(polygons: Sequence[Sequence[Sequence[float]]], *, width: int, height: int) -> Any:
    """Return the pixels of polygons, their outlines included, ``(H, W)``, as the authors draw them."""
    canvas = Image.new("1", (width, height))
    for polygon in polygons:
        if len(polygon) > 1:
            ImageDraw.Draw(canvas).polygon([(x, y) for x, y in polygon], fill=1, outline=1)
    return np.asarray(canvas, dtype=bool)
