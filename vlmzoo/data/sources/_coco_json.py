"""COCO's JSON of images, annotations and categories, read once in a process, and sources over it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._coco_masks import decode_segmentation
from vlmzoo.data.sources._segmentation import (
    AnnotatedImage,
    OnMissing,
    Phrase,
    SegmentationSource,
    frame_of,
    kept_images,
    stamp_of,
)
from vlmzoo.errors import DataError
from vlmzoo.geometry import Mask

__all__ = ["CocoIndex", "CocoSource", "coco_mask", "read_coco"]


@dataclass(frozen=True)
class CocoIndex:
    """What a file says, by id.

    Args:
        images: in order of id.
        annotations: by id.
        by_image: annotations of an image, in their order in the file.
        categories: names by id.
    """

    images: Mapping[Any, Mapping[str, Any]] = field(repr=False)
    annotations: Mapping[Any, Mapping[str, Any]] = field(repr=False)
    by_image: Mapping[Any, Sequence[Mapping[str, Any]]] = field(repr=False)
    categories: Mapping[Any, str] = field(repr=False)


def read_coco(path: Path) -> CocoIndex:
    """Read a file; once in a process while it does not change, so that sources travel to workers as paths.

    Raises:
        DataError: if the file is missing, is no such JSON, an id stands twice, or an image lies outside its folder.
    """
    return _read_coco(path, stamp_of(path))


@lru_cache(maxsize=8)
def _read_coco(path: Path, stamp: tuple[int, int]) -> CocoIndex:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"Annotations `{path}` cannot be read ({error}); check `root`.") from error
    except ValueError as error:
        raise DataError(
            f"Annotations `{path}` must be JSON, but cannot be read ({error}); fetch them again."
        ) from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"Annotations `{path}` must have a list `{key}`, but have none; is this COCO's format?")
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation.get("image_id"), []).append(annotation)
    images = _by_id(content["images"], path, "images")
    _check_names(content["images"], path)
    return CocoIndex(
        images=dict(sorted(images.items(), key=lambda entry: str(entry[0]).zfill(20))),
        annotations=_by_id(content["annotations"], path, "annotations"),
        by_image=by_image,
        categories={entry["id"]: str(entry["name"]) for entry in content.get("categories", ())},
    )


def _check_names(images: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Refuse names that would lead out of the folder of images."""
    for entry in images:
        name = str(entry.get("file_name", ""))
        if name.startswith("/") or ".." in name.split("/"):
            raise DataError(
                f"`file_name` of image `{entry['id']}` of `{path}` must lead on from the folder of images, but is "
                f"{name!r} instead; mend the file, or fetch it again."
            )


def _by_id(entries: Sequence[Mapping[str, Any]], path: Path, key: str) -> dict[Any, Mapping[str, Any]]:
    found = {entry.get("id"): entry for entry in entries}
    if len(found) < len(entries) or None in found:
        raise DataError(f"`{key}` of `{path}` must have an `id` each, all different, but have not; fetch them again.")
    return found


def coco_mask(annotation: Mapping[str, Any], image: Path, size: tuple[int, int]) -> Mask:
    """Decode the mask of an annotation in the frame of its image.

    Raises:
        RowError: if it cannot be read; the message names the annotation.
    """
    try:
        return decode_segmentation(annotation.get("segmentation", []), frame=frame_of(image, size=size))
    except RowError as error:
        raise error.at(f"annotation `{annotation.get('id')}`") from error


class CocoSource(SegmentationSource):
    """Images of a COCO file; each annotation is a phrase made of its category's name.

    Args:
        path: of the file.
        folder: where its file names start.
        merge_instances: whether annotations of one name in one image are one phrase.
        on_missing: ``error`` or ``skip`` images that are not there.
        options: of ``SegmentationSource``.
    """

    def __init__(
        self,
        *,
        path: Path,
        folder: Path,
        merge_instances: bool = False,
        on_missing: OnMissing = "error",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.path, self.folder, self.merge_instances = path, folder, merge_instances
        index = read_coco(path)
        for name in index.categories.values():
            self.names(name)
        files = [folder / str(entry["file_name"]) for entry in index.images.values()]
        kept = kept_images(files, on_missing, root=folder)
        ids = list(index.images)
        self.image_ids = [ids[number] for number in kept]

    def names(self, category: str) -> tuple[str, ...]:
        """Return what a category may be called, e.g. ``dog head`` and ``the head of the dog``.

        Raises:
            DataError: if the name has not the set's form.
        """
        raise NotImplementedError

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.image_ids)

    def read(self, index: int) -> AnnotatedImage:
        """Return one image with a phrase for each annotation, or for each name.

        Raises:
            RowError: if its annotation cannot be read.
        """
        coco = read_coco(self.path)
        entry = coco.images[self.image_ids[index]]
        image = self.folder / str(entry["file_name"])
        size = (int(entry["width"]), int(entry["height"]))
        groups: dict[Any, list[Mapping[str, Any]]] = {}
        for annotation in coco.by_image.get(entry["id"], ()):
            if not annotation.get("segmentation"):
                continue  # nothing can be asked for
            key = annotation["category_id"] if self.merge_instances else annotation["id"]
            groups.setdefault(key, []).append(annotation)
        phrases = [self._phrase(group, coco, image, size) for group in groups.values()]
        return AnnotatedImage(id=str(entry["id"]), image=image, phrases=phrases)

    def _phrase(
        self, group: Sequence[Mapping[str, Any]], coco: CocoIndex, image: Path, size: tuple[int, int]
    ) -> Phrase:
        category = group[0]["category_id"]
        if category not in coco.categories:
            raise RowError(
                f"annotation `{group[0]['id']}` has category {category!r}, which is not listed.", "wrong value"
            )
        first, *others = self.names(coco.categories[category])
        return Phrase(
            text=first,
            other_texts=others,
            mask=partial(_union, tuple(group), image, size),
            ids={"ann_ids": [annotation["id"] for annotation in group]},
        )


def _union(group: Sequence[Mapping[str, Any]], image: Path, size: tuple[int, int]) -> Mask:
    mask = coco_mask(group[0], image, size)
    for annotation in group[1:]:
        mask = mask | coco_mask(annotation, image, size)
    return mask
