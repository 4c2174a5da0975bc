"""COCO-Stuff: COCO's images with labels of things and stuff."""

from pathlib import Path
from typing import Any

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._label_maps import LabelMapSource, listed
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import DataError

__all__ = ["CocoStuffSource"]


@SOURCES.register(
    "cocostuff",
    source="Caesar et al., COCO-Stuff, arXiv:1612.03716; layout as in LISA's repository",
    tiny={"root": str(TINY / "lisa")},
)
class CocoStuffSource(LabelMapSource):
    """8-bit labels under ``cocostuff/SPLIT`` and images under ``coco/SPLIT``, joined by their stems.

    Value v is the class with COCO's id v + 1; 255 is unlabelled.

    Args:
        root: folder that holds ``cocostuff`` and ``coco``.
        split: ``train2017`` or ``val2017``.
        drop_hyphenated: whether classes such as ``wall-brick`` are ignored, as the authors of LISA do.
        classes_file: 183 lines ``id: name`` that begin with ``0: unlabeled``; default: the published names.
        options: ``rounds``, ``draws``, ``seed``, ``on_missing``, see ``SegmentationSource``.

    Raises:
        DataError: if a folder, an image or the file of classes is missing or of another form.
    """

    name = "cocostuff"

    def __init__(
        self,
        *,
        root: str,
        split: str = "train2017",
        drop_hyphenated: bool = True,
        classes_file: str | None = None,
        **options: Any,
    ) -> None:
        folder = Path(root).expanduser()
        names = load_prompts("lisa")["cocostuff_classes"] if classes_file is None else _names(Path(classes_file))
        labels = listed(folder / "cocostuff" / split, ".png")
        super().__init__(
            root=folder,
            pairs=[(folder / "coco" / split / f"{path.stem}.jpg", path) for path in labels],
            classes={value: name for value, name in enumerate(names) if not (drop_hyphenated and "-" in name)},
            **options,
        )


def _names(path: Path) -> list[str]:
    """Return the names by value: the file's first line is the id 0, which no pixel has.

    Raises:
        DataError: if it begins otherwise.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"`classes_file` `{path}` cannot be read ({error}); check the path.") from error
    if not lines or not lines[0].startswith("0:"):
        begin = lines[0] if lines else ""
        raise DataError(f"`classes_file` `{path}` must begin with `0: unlabeled`, but begins with `{begin}` instead.")
    return [line.partition(":")[2].strip() for line in lines[1:] if line.strip()]
