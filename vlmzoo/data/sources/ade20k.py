"""ADE20K's scene parsing edition: 150 classes of things and stuff."""

from pathlib import Path
from typing import Any, Literal

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._label_maps import LabelMapSource, listed
from vlmzoo.data.sources._tiny import TINY

__all__ = ["Ade20kSource"]


@SOURCES.register(
    "ade20k",
    source="Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017; layout as in LISA's repository",
    tiny={"root": str(TINY / "lisa")},
)
class Ade20kSource(LabelMapSource):
    """Images under ``ade20k/images/SPLIT`` and 8-bit labels under ``ade20k/annotations/SPLIT``, joined by their stems.

    Label 0 is none of the classes and is ignored; label k is the k-th class.

    Args:
        root: folder that holds ``ade20k``, or ``ADEChallengeData2016`` as the archive calls it.
        split: ``training`` or ``validation``.
        classes_file: the set's ``objectInfo150.txt``, whose first synonyms are then the names; default: LISA's names.
        options: ``rounds``, ``draws``, ``seed``, ``on_missing``, see ``SegmentationSource``.

    Raises:
        DataError: if a folder or an image is missing.
    """

    name = "ade20k"

    def __init__(
        self,
        *,
        root: str,
        split: Literal["training", "validation"] = "training",
        classes_file: str | None = None,
        **options: Any,
    ) -> None:
        folder = Path(root).expanduser() / "ade20k"
        if not folder.is_dir() and folder.with_name("ADEChallengeData2016").is_dir():
            folder = folder.with_name("ADEChallengeData2016")
        names = load_prompts("lisa")["ade20k_classes"] if classes_file is None else _names(Path(classes_file))
        labels = listed(folder / "annotations" / split, ".png")
        super().__init__(
            root=folder,
            pairs=[(folder / "images" / split / f"{path.stem}.jpg", path) for path in labels],
            classes=dict(enumerate(names, start=1)),
            **options,
        )


def _names(path: Path) -> list[str]:
    """Return the first synonym of each line of ``objectInfo150.txt``, which has a header."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[-1].split(",")[0].strip() for line in lines if line.strip()]
