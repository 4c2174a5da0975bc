"""PASCAL-Part, as VLPart converts it: parts of the objects of PASCAL VOC 2010."""

from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._coco_json import CocoSource
from vlmzoo.data.sources._part_names import part_names
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import DataError

__all__ = ["PascalPartSource"]


@SOURCES.register(
    "pascal_part",
    source="Chen et al., Detect What You Can, CVPR 2014; VLPart, arXiv:2305.11173 (conversion and layout)",
    tiny={"root": str(TINY / "lisa")},
)
class PascalPartSource(CocoSource):
    """``vlpart/pascal_part/train.json`` beside ``VOCdevkit/VOC2010/JPEGImages``; categories are ``object:part``.

    The boxes in the file are one pixel short, so boxes are those of the masks.

    Args:
        root: folder that holds ``vlpart``.
        annotations: name of the file.
        options: ``rounds``, ``draws``, ``seed``, ``on_missing``, ``merge_instances``, see ``SegmentationSource``.

    Raises:
        DataError: if the file or an image is missing, or a category is no ``object:part``.
    """

    name = "pascal_part"

    def __init__(self, *, root: str, annotations: str = "train.json", **options: Any) -> None:
        folder = Path(root).expanduser() / "vlpart" / "pascal_part"
        images = folder / "VOCdevkit" / "VOC2010" / "JPEGImages"
        super().__init__(path=folder / annotations, folder=images, **options)

    def names(self, category: str) -> tuple[str, ...]:
        """Return ``object part`` and ``the part of the object``.

        Raises:
            DataError: if there is not exactly one colon.
        """
        thing, colon, part = category.strip().partition(":")
        if not colon or ":" in part:
            raise DataError(f"A category of PASCAL-Part must be `object:part`, but is `{category}` instead.")
        return part_names(thing, part)
