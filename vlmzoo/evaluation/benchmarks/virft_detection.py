"""Detection on COCO and LVIS as Visual-RFT measures it: one question for each image and class of a query map."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from vlmzoo.data.digests import files_digest
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks._released import Template, check_template, in_template
from vlmzoo.evaluation.detecting import DetectionBenchmark
from vlmzoo.evaluation.records import Generation
from vlmzoo.integrations.coco_eval import DetectionScores, average_precision
from vlmzoo.types import Sample, user

__all__ = ["VirftDetectionBenchmark"]

Pair = tuple[int, int]
"""An image and a category, by their ids."""


@BENCHMARKS.register(
    "virft_detection",
    source="Visual-RFT, arXiv:2503.01785, section 4.2, tables 3, 4, 7 and 8; LVIS, arXiv:1908.03195, section 2.2",
    tiny={
        "annotations": str(TINY / "coco_boxes.json"),
        "image_folder": str(TINY),
        "num_resamples": 2,
        "max_new_tokens": 8,
    },
)
@dataclass(frozen=True, kw_only=True)
class VirftDetectionBenchmark(DetectionBenchmark):
    """Which classes are asked for in which image is a query map, and average precision depends on it.

    The authors' maps were made by asking the base model which classes are present. A map of your own is a JSON file
    ``{"name": …, "queries": {image id: [class, …]}}``; its name stands in the identity of the results. Objects that
    nobody asked for count as missed.

    LVIS is not annotated to the end: where an image says for which classes it was looked through
    (``neg_category_ids``), boxes of other classes are neither right nor wrong there, and where it says that not all
    objects of a class are annotated (``not_exhaustive_category_ids``), boxes that match nothing are not wrong.

    Args:
        annotations: a JSON file in COCO's form, or LVIS's.
        image_folder: where its images lie, by ``file_name``, or by the end of ``coco_url``.
        classes: names of the classes that are asked for and measured; None for all.
        queries: ``oracle``: the classes that are annotated in an image; ``all``: every class in every image; or the
            path of a map, such as ``base``.
        federated: whether LVIS's remarks count; ``false`` measures as the authors did.
        template: ``training``, or ``released`` for the authors' evaluation.

    Raises:
        ConfigError: if an option is unknown, or nothing is asked.
        DataError: if a file cannot be read, or names what does not exist.
    """

    annotations: str
    image_folder: str
    classes: Sequence[str] | None = None
    queries: str = "oracle"
    federated: bool = True
    template: Template = "training"
    _truth: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    _map: "_QueryMap" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the annotations and the map."""
        super().__post_init__()
        check_template(self.template)
        truth = _read(Path(self.annotations).expanduser(), ("images", "annotations", "categories"))
        object.__setattr__(self, "_truth", truth)
        ids = {category["name"]: category["id"] for category in truth["categories"]}
        wanted = list(ids) if self.classes is None else list(self.classes)
        for name in wanted:
            if name not in ids:
                raise DataError(f"`classes` names `{name}`, which is none of the {len(ids)} of `{self.annotations}`.")
        object.__setattr__(self, "_map", _query_map(self.queries, truth, {name: ids[name] for name in wanted}))
        if not self._map.pairs:
            raise ConfigError(f"`queries: {self.queries}` must ask for something, but asks for none of `classes`.")

    @property
    def identity(self) -> Mapping[str, Any]:
        """What files hold, not where they lie."""
        return {
            "type": "virft_detection",
            "annotations": Path(self.annotations).name,
            "annotations_digest": files_digest([Path(self.annotations).expanduser()]),
            "classes": self._class_names,
            "queries": self._map.name,
            "queries_digest": hashlib.sha256(str(self._map.pairs).encode()).hexdigest()[:16],
            "num_questions": self.num_questions,
            "federated": self.federated,
            "template": self.template,
            "score": self.score_specs,
            "max_new_tokens": self.max_new_tokens,
        }

    @property
    def num_questions(self) -> int:
        """How many pairs of image and class the map has."""
        return len(self._map.pairs)

    def questions(self) -> Iterator[Sample]:
        """Ask pair by pair, in the order of the map."""
        names = {category["id"]: category["name"] for category in self._truth["categories"]}
        images = {image["id"]: image for image in self._truth["images"]}
        for image_id, category_id in self._map.pairs:
            image = images[image_id]
            question = Sample(
                messages=[user(_problem(names[category_id]), num_images=1)],
                images=[str(Path(self.image_folder).expanduser() / _file_name(image))],
                id=f"{image_id}/{category_id}",
                reference=self._solution(image, category_id),
                meta={
                    "image_id": image_id,
                    "category": names[category_id],
                    "category_id": category_id,
                    "size_px": [image["width"], image["height"]],
                },
            )
            yield in_template(question, self.template)

    def average_precision(self, generations: Sequence[Generation], *, seed: int = 0) -> DetectionScores:
        """Measure all answers against all annotations of the classes."""
        judged = self._judged_pairs
        predictions = [
            prediction
            for one in generations
            for prediction in one.meta["predictions"]
            if judged is None or (one.meta["image_id"], one.meta["category_id"]) in judged
        ]
        return average_precision(
            self._truth,
            predictions,
            classes=self._class_names,
            not_exhaustive=self._not_exhaustive if self.federated else (),
            num_resamples=self.num_resamples,
            seed=seed,
        )

    @property
    def _class_names(self) -> list[str]:
        return list(self._map.ids)

    @cached_property
    def _judged_pairs(self) -> frozenset[Pair] | None:
        """The pairs of which an image says whether the class is there; None where every pair is judged."""
        images = self._truth["images"]
        if not self.federated or not any("neg_category_ids" in image for image in images):
            return None
        present = {(one["image_id"], one["category_id"]) for one in self._truth["annotations"]}
        absent = {(image["id"], id) for image in images for id in image.get("neg_category_ids", ())}
        return frozenset(present | absent)

    @property
    def _not_exhaustive(self) -> frozenset[Pair]:
        images = self._truth["images"]
        return frozenset((image["id"], id) for image in images for id in image.get("not_exhaustive_category_ids", ()))

    def _solution(self, image: Mapping[str, Any], category_id: int) -> str:
        """Return what would be right, in thousandths, for the scores of single answers."""
        boxes: list[dict[str, Any]] = []
        for x, y, width, height in self._boxes.get((image["id"], category_id), ()):
            right, lower = x + width, y + height
            edges = (x / image["width"], y / image["height"], right / image["width"], lower / image["height"])
            boxes.append({"Position": [round(1000 * edge) for edge in edges], "Confidence": 1})
        return f"<answer>{boxes or 'No Objects'}</answer>"

    @cached_property
    def _boxes(self) -> dict[Pair, list[Sequence[float]]]:
        found: dict[Pair, list[Sequence[float]]] = {}
        for one in self._truth["annotations"]:
            if not one.get("iscrowd"):
                found.setdefault((one["image_id"], one["category_id"]), []).append(one["bbox"])
        return found


@dataclass(frozen=True)
class _QueryMap:
    """Which class is asked for in which image.

    Args:
        name: of the map.
        pairs: in order.
        ids: of the classes that are measured, by name.
    """

    name: str
    pairs: tuple[Pair, ...]
    ids: Mapping[str, int]


def _query_map(queries: str, truth: Mapping[str, Any], ids: Mapping[str, int]) -> _QueryMap:
    images, wanted = [image["id"] for image in truth["images"]], set(ids.values())
    if queries == "all":
        return _QueryMap(queries, tuple((image, id) for image in images for id in ids.values()), ids)
    if queries == "oracle":
        present = {(one["image_id"], one["category_id"]) for one in truth["annotations"]}
        pairs = tuple((image, id) for image in images for id in ids.values() if (image, id) in present)
        return _QueryMap(queries, pairs, ids)
    path = Path(queries).expanduser()
    if path.suffix != ".json":
        raise ConfigError(f"`queries` must be oracle, all or a JSON file, but is {queries!r} instead.")
    content = _read(path, ("name", "queries"))
    by_text = {str(image): image for image in images}
    asked = cast("Mapping[str, Sequence[str]]", content["queries"])
    unknown = [image for image in asked if image not in by_text]
    if unknown:
        raise DataError(f"`{path}` asks about image {unknown[0]}, which the annotations do not have.")
    known = {category["name"]: category["id"] for category in truth["categories"]}
    strangers = [name for names in asked.values() for name in names if name not in known]
    if strangers:
        raise DataError(f"`{path}` asks for `{strangers[0]}`, which is no class of the annotations.")
    pairs = [(by_text[image], known[name]) for image, names in asked.items() for name in dict.fromkeys(names)]
    return _QueryMap(str(content["name"]), tuple(pair for pair in pairs if pair[1] in wanted), ids)


def _problem(category: str) -> str:
    return load_prompts("virft")["detection"].format(category=category, newline="\n")


def _file_name(image: Mapping[str, Any]) -> str:
    """Return where an image lies; LVIS gives an address, whose last two parts are the folder and the file."""
    name = image.get("file_name")
    return str(name) if name else "/".join(str(image["coco_url"]).split("/")[-2:])


def _read(path: Path, needed: Sequence[str]) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"`{path}` must be a JSON file, but cannot be read: {error}.") from error
    missing = [name for name in needed if not isinstance(content, dict) or name not in content]
    if missing:
        raise DataError(f"`{path}` must have `{missing[0]}`, but has not.")
    return cast("Mapping[str, Any]", content)
