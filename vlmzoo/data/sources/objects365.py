"""Objects365 v2 as SEAL's search model learns from it: boxes of 365 classes, no masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._coco_json import read_coco
from vlmzoo.data.sources._located import BoxedImage, BoxedThing, LocatedSource
from vlmzoo.data.sources._segmentation import OnMissing, kept_images
from vlmzoo.data.sources._tiny import TINY

__all__ = ["Objects365Source"]


@SOURCES.register(
    "objects365",
    source="Shao et al., Objects365, ICCV 2019; layout as in penghao-wu/vstar@4ede664",
    tiny={"root": str(TINY / "vsm")},
)
class Objects365Source(LocatedSource):
    """``object365/zhiyuan_objv2_train.json`` over ``object365/images/train/PATCH/FILE.jpg``.

    A name with several readings, such as ``Picture/Frame``, is asked for by one of them. Three images of the set are
    annotated and do not exist; ``on_missing: skip`` leaves them out.

    Args:
        root: folder that holds ``object365``.
        file: name of the annotations.
        on_missing: ``skip`` or ``error`` for images that are not there.
        options: ``draws`` and ``seed``, see ``LocatedSource``.

    Raises:
        DataError: if the file is missing, or no image is there.
    """

    name = "objects365"

    def __init__(
        self, *, root: str, file: str = "zhiyuan_objv2_train.json", on_missing: OnMissing = "skip", **options: Any
    ) -> None:
        super().__init__(**options)
        folder = Path(root).expanduser() / "object365"
        self.path, self.folder = folder / file, folder / "images" / "train"
        index = read_coco(self.path)
        ids = list(index.images)
        files = [self._file(entry) for entry in index.images.values()]
        self.image_ids = [ids[number] for number in kept_images(files, on_missing, root=self.folder)]

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.image_ids)

    def read(self, index: int) -> BoxedImage:
        """Return one image, a thing for each of its classes.

        Raises:
            RowError: if an annotation has no listed class, or no box.
        """
        coco = read_coco(self.path)
        entry = coco.images[self.image_ids[index]]
        groups: dict[Any, list[tuple[float, float, float, float]]] = {}
        for annotation in coco.by_image.get(entry["id"], ()):
            category, box = annotation.get("category_id"), annotation.get("bbox")
            if category not in coco.categories or not isinstance(box, list) or len(box) != 4:
                raise RowError(
                    f"annotation `{annotation.get('id')}` must have a listed class and a box of four numbers, but has "
                    f"{category!r} and {box!r}.",
                    "wrong value",
                )
            groups.setdefault(category, []).append((box[0], box[1], max(box[2], 0.0), max(box[3], 0.0)))
        things = [BoxedThing(names=_names(coco.categories[key]), boxes=boxes) for key, boxes in groups.items()]
        size = (int(entry["width"]), int(entry["height"])) if "width" in entry else None
        return BoxedImage(id=str(entry["id"]), image=self._file(entry), size=size, things=things)

    def _file(self, entry: Mapping[str, Any]) -> Path:
        return self.folder.joinpath(*Path(str(entry["file_name"])).parts[-2:])


def _names(category: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in category.split("/") if name.strip()) or (category,)
