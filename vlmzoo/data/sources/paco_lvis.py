"""PACO-LVIS: objects of COCO's images and their parts."""

from pathlib import Path
from typing import Any, Literal

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._coco_json import CocoSource
from vlmzoo.data.sources._part_names import part_names
from vlmzoo.data.sources._tiny import TINY

__all__ = ["PacoLvisSource"]


@SOURCES.register(
    "paco_lvis",
    source="Ramanathan et al., PACO, arXiv:2301.01795; layout as in LISA's repository",
    tiny={"root": str(TINY / "lisa")},
)
class PacoLvisSource(CocoSource):
    """``vlpart/paco/annotations/paco_lvis_v1_SPLIT.json`` over ``coco``; categories are ``object`` or ``object:part``.

    Args:
        root: folder that holds ``vlpart`` and ``coco``.
        split: ``train``, ``val`` or ``test``.
        underscore_to_space: whether ``trash_can`` is asked for as ``trash can``; the authors of LISA leave it.
        options: ``rounds``, ``draws``, ``seed``, ``on_missing``, ``merge_instances``, see ``SegmentationSource``.

    Raises:
        DataError: if the file or an image is missing.
    """

    name = "paco_lvis"

    def __init__(
        self,
        *,
        root: str,
        split: Literal["train", "val", "test"] = "train",
        underscore_to_space: bool = True,
        **options: Any,
    ) -> None:
        self.underscore_to_space = underscore_to_space
        folder = Path(root).expanduser()
        path = folder / "vlpart" / "paco" / "annotations" / f"paco_lvis_v1_{split}.json"
        super().__init__(path=path, folder=folder / "coco", **options)

    def names(self, category: str) -> tuple[str, ...]:
        """Return what it may be called; a kind in brackets, as in ``mouse_(computer_equipment)``, is left out."""
        thing, *parts = [self._plain(piece) for piece in category.strip().split(":", 1)]
        return part_names(thing, parts[0]) if parts else (thing,)

    def _plain(self, name: str) -> str:
        plain = name.split("_(")[0]
        return plain.replace("_", " ") if self.underscore_to_space else plain
