"""Referring segmentation in REFER's layout: refCLEF, refCOCO, refCOCO+ and refCOCOg."""

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._coco_json import coco_mask, read_coco
from vlmzoo.data.sources._refs_file import find_refs_file, read_refs
from vlmzoo.data.sources._segmentation import (
    AnnotatedImage,
    OnMissing,
    Phrase,
    SegmentationSource,
    kept_images,
    stamp_of,
)
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import ConfigError, DataError

__all__ = ["ReferDataset", "ReferSegSource"]

ReferDataset: TypeAlias = Literal["refclef", "refcoco", "refcoco+", "refcocog"]
_SPLIT_BY: Mapping[str, str] = {"refclef": "unc", "refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
_LETTERS = "ABC"


@SOURCES.register(
    "refer_seg",
    source="Kazemzadeh et al., ReferItGame, EMNLP 2014; Yu et al., arXiv:1608.00272; Mao et al., arXiv:1511.02283",
    tiny={"root": str(TINY / "lisa"), "dataset": "refcoco"},
)
class ReferSegSource(SegmentationSource):
    """``refer_seg/DATASET/refs(SPLIT_BY).p`` and ``instances.json`` over ``refer_seg/images``.

    A phrase is one sentence of one reference, in lower case. Pickles are read without running anything; a file of
    references as JSON is preferred. The folders may also lie in ``root`` itself, as the authors' validation has it.

    Args:
        root: folder that holds ``refer_seg``.
        dataset: ``refclef``, ``refcoco``, ``refcoco+`` or ``refcocog``.
        split: ``train``, ``val``, ``test`` or ``testA`` to ``testC``; the last also take references of combined splits
            such as ``testAB``.
        split_by: who made the splits; default: ``umd`` for refCOCOg, ``unc`` for the others. In ``google`` the same
            image may be in training and validation.
        on_missing: ``error`` or ``skip`` images that are not there.
        options: ``rounds``, ``draws`` and ``seed``, see ``SegmentationSource``.

    Raises:
        ConfigError: if there is no such data set.
        DataError: if a file or an image is missing, the pickle names a class, or the split has no reference.
    """

    def __init__(
        self,
        *,
        root: str,
        dataset: ReferDataset = "refcoco",
        split: str = "train",
        split_by: str | None = None,
        on_missing: OnMissing = "error",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if dataset not in _SPLIT_BY:
            raise ConfigError(f"`dataset` must be one of {', '.join(_SPLIT_BY)}, but is {dataset!r} instead.")
        self.name = dataset
        self.folder = _folder(Path(root).expanduser(), dataset)
        self.split = split
        self.refs_path = find_refs_file(self.folder / dataset, split_by=split_by or _SPLIT_BY[dataset])
        coco = read_coco(self._instances)
        ids = [id for id in coco.images if id in self._references()]
        if not ids:
            splits = ", ".join(sorted({ref["split"] for ref in read_refs(self.refs_path)}))
            raise DataError(f"`{self.refs_path}` must have references of split `{split}`, but has those of {splits}.")
        kept = kept_images([self._image(coco.images[id]) for id in ids], on_missing, root=self.folder)
        self.image_ids = [ids[number] for number in kept]

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.image_ids)

    def read(self, index: int) -> AnnotatedImage:
        """Return one image with a phrase for each sentence about it.

        Raises:
            RowError: if a reference is to an annotation that is not there, or it cannot be read.
        """
        coco = read_coco(self._instances)
        entry = coco.images[self.image_ids[index]]
        image, size = self._image(entry), (int(entry["width"]), int(entry["height"]))
        phrases = []
        for ref in self._references()[entry["id"]]:
            annotation = coco.annotations.get(ref["ann_id"])
            if annotation is None:
                raise RowError(
                    f"reference `{ref['ref_id']}` is to annotation `{ref['ann_id']}`, which is not there.",
                    "missing field",
                )
            for text in (sentence["sent"].strip().lower() for sentence in ref["sentences"]):
                if not text:
                    continue
                phrases.append(
                    Phrase(
                        text=text,
                        mask=partial(coco_mask, annotation, image, size),
                        ids={"ref_id": ref["ref_id"], "ann_id": ref["ann_id"]},
                    )
                )
        return AnnotatedImage(id=str(entry["id"]), image=image, phrases=phrases, meta={"split": self.split})

    @property
    def _instances(self) -> Path:
        return self.folder / self.name / "instances.json"

    def _image(self, entry: Mapping[str, Any]) -> Path:
        inner = Path("saiapr_tc-12") if self.name == "refclef" else Path("mscoco") / "images" / "train2014"
        return self.folder / "images" / inner / str(entry["file_name"])

    def _references(self) -> Mapping[Any, list[Mapping[str, Any]]]:
        return _by_image(self.refs_path, self.split, stamp_of(self.refs_path))


@lru_cache(maxsize=16)
def _by_image(path: Path, split: str, stamp: tuple[int, int]) -> Mapping[Any, list[Mapping[str, Any]]]:
    """Return the references of a split by image; once in a process while the file does not change."""
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for ref in read_refs(path):
        if _is_in(ref["split"], split):
            found.setdefault(ref["image_id"], []).append(ref)
    return found


def _is_in(given: str, wanted: str) -> bool:
    """Say whether a reference belongs to a split: ``testAB`` belongs to ``testA``, ``testB`` and ``test``."""
    if wanted == "test":
        return "test" in given
    if wanted.startswith("test") and wanted[-1] in _LETTERS:
        return "test" in given and wanted[-1] in given
    return given == wanted


def _folder(root: Path, dataset: str) -> Path:
    """Return the folder that holds the data set and ``images``.

    Raises:
        DataError: if there is none.
    """
    for folder in (root / "refer_seg", root):
        if (folder / dataset).is_dir():
            return folder
    raise DataError(f"`{root}` must hold `refer_seg/{dataset}` or `{dataset}`, but holds neither; check `root`.")
