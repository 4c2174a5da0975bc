"""GoldG as MDETR wrote it and SEAL's search model learns from it: phrases of captions, and their boxes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._coco_json import read_coco
from vlmzoo.data.sources._located import BoxedImage, BoxedThing, LocatedSource
from vlmzoo.data.sources._segmentation import OnMissing, kept_images
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import ConfigError

__all__ = ["GoldGSource"]

_FILES = {"mixed": "final_mixed_train.json", "flickr": "final_flickr_separateGT_train.json"}
_FOLDERS = {"coco": ("coco2014", "train2014"), "vg": ("MixedGrounding", "GQA", "images")}
_FLICKR = ("MixedGrounding", "flickr30k-images")


@SOURCES.register(
    "goldg",
    source="Kamath et al., MDETR, arXiv:2104.12763, its annotations; layout as in penghao-wu/vstar@4ede664",
    tiny={"root": str(TINY / "vsm"), "part": "mixed"},
)
class GoldGSource(LocatedSource):
    """``MixedGrounding/final_mixed_train.json`` or ``final_flickr_separateGT_train.json``.

    An entry is one caption of an image; a thing is what the characters of a box's ``tokens_positive`` spell. The two
    files number their images from 0 each, and are read apart: the authors file the boxes of the second under captions
    of the first.

    Args:
        root: folder that holds ``MixedGrounding`` and ``coco2014``.
        part: ``mixed`` (images of COCO and Visual Genome) or ``flickr``.
        on_missing: ``skip`` or ``error`` for images that are not there.
        options: ``draws`` and ``seed``, see ``LocatedSource``.

    Raises:
        ConfigError: if there is no such part.
        DataError: if the file is missing, or no image is there.
    """

    name = "goldg"

    def __init__(
        self, *, root: str, part: Literal["mixed", "flickr"] = "mixed", on_missing: OnMissing = "error", **options: Any
    ) -> None:
        if part not in _FILES:
            raise ConfigError(f"`part` must be mixed or flickr, but is {part!r} instead.")
        super().__init__(**options)
        self.root, self.part = Path(root).expanduser(), part
        self.path = self.root / "MixedGrounding" / _FILES[part]
        index = read_coco(self.path)
        ids = list(index.images)
        files = [self._file(entry) for entry in index.images.values()]
        self.image_ids = [ids[number] for number in kept_images(files, on_missing, root=self.root)]

    @property
    def num_images(self) -> int:
        """How many captions there are."""
        return len(self.image_ids)

    def read(self, index: int) -> BoxedImage:
        """Return the image of one caption, a thing for each phrase.

        Raises:
            RowError: if an annotation has no box, or points outside of its caption.
        """
        coco = read_coco(self.path)
        entry = coco.images[self.image_ids[index]]
        caption = str(entry.get("caption", ""))
        groups: dict[str, list[tuple[float, float, float, float]]] = {}
        for annotation in coco.by_image.get(entry["id"], ()):
            try:
                phrase = _phrase(caption, annotation["tokens_positive"])
                x, y, width, height = (float(number) for number in annotation["bbox"])
            except (KeyError, TypeError, ValueError) as error:
                raise RowError(
                    f"annotation `{annotation.get('id')}` must have `bbox` and `tokens_positive` within its caption of "
                    f"{len(caption)} characters ({error!r}).",
                    "wrong value",
                ) from error
            groups.setdefault(phrase, []).append((x, y, max(width, 0.0), max(height, 0.0)))
        things = [BoxedThing(names=(phrase,), boxes=boxes) for phrase, boxes in groups.items()]
        size = (int(entry["width"]), int(entry["height"])) if "width" in entry else None
        return BoxedImage(id=f"{self.part}/{entry['id']}", image=self._file(entry), size=size, things=things)

    def _file(self, entry: Mapping[str, Any]) -> Path:
        folders = _FLICKR if self.part == "flickr" else _FOLDERS.get(str(entry.get("data_source")), _FOLDERS["coco"])
        return self.root.joinpath(*folders, str(entry["file_name"]))


def _phrase(caption: str, spans: Any) -> str:
    words = [caption[int(start) : int(end)] for start, end in spans]
    if not words or not all(words):
        raise ValueError(f"`tokens_positive` is {spans!r}")
    return " ".join(words)
