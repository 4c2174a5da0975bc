"""LLaVA-Instruct-150k where LISA looks for it: the conversations that keep a segmenting model talking."""

from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._records import FileSource
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.llava_json import LlavaRule
from vlmzoo.data.sources.pictures import OnMissing

__all__ = ["LlavaInstructSource"]


@SOURCES.register(
    "llava_instruct",
    source="LLaVA, arXiv:2304.08485, section 3; layout as in LISA's repository",
    tiny={"root": str(TINY / "lisa")},
)
class LlavaInstructSource(FileSource):
    """``llava_dataset/llava_instruct_150k.json`` over ``coco/train2017``; no sample has a mask.

    Args:
        root: folder that holds ``llava_dataset`` and ``coco``.
        file: name of the file.
        on_missing: what becomes of a row whose image is not there, see ``llava_json``.

    Raises:
        DataError: if the file is missing or holds no records.
    """

    def __init__(
        self, *, root: str, file: str = "llava_instruct_150k.json", on_missing: OnMissing = "error", **options: Any
    ) -> None:
        folder = Path(root).expanduser()
        path, images = folder / "llava_dataset" / file, folder / "coco" / "train2017"
        super().__init__(str(path), LlavaRule(**options), image_folder=str(images), on_missing=on_missing)
