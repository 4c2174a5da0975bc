"""MIA-DPO's published pairs: ``dpo_27k.json`` and what was made in its form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.data.mia import IMAGE_TAG
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import read_id, read_images, read_text, rest_of
from vlmzoo.data.sources._records import FileSource
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.pictures import OnMissing

__all__ = ["MiaDpoRule", "MiaDpoSource"]

_OTHER_TAG = "<image-placeholder>"  # the release writes this, and its training looks for the other


@dataclass(frozen=True)
class MiaDpoRule:
    """What a record ``{id, image, prompt, chosen, rejected, gt}`` says."""

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record.

        Raises:
            RowError: if a field is missing, or tags and images differ in number.
        """
        prompt = read_text(record, "prompt").replace(_OTHER_TAG, IMAGE_TAG)
        images = read_images(record, "image", "images")
        num_tags = prompt.count(IMAGE_TAG)
        if num_tags != len(images):
            raise RowError(
                f"`prompt` must hold a tag for each image, but holds {num_tags} for {len(images)} images; the model "
                "would be shown something else than it is asked about.",
                "image count",
            )
        return Draft(
            turns=[("user", prompt), ("assistant", read_text(record, "chosen"))],
            images=images,
            id=read_id(record),
            rejected=read_text(record, "rejected"),
            meta=rest_of(record, "id", "image", "images", "prompt", "chosen", "rejected"),
        )


@SOURCES.register(
    "mia_dpo",
    source="MIA-DPO, arXiv:2410.17637; laolao77/MIA-DPO on the Hub, dpo_27k.json (Apache-2.0)",
    tiny={"path": str(TINY / "mia_dpo.json")},
)
class MiaDpoSource(FileSource):
    """Pairs about one of several images; a collage and a picture in a picture are one image.

    Args:
        path: ``dpo_27k.json``, or several such files.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.

    Raises:
        DataError: if a file is missing or holds no records.
    """

    def __init__(
        self, *, path: str | Sequence[str], image_folder: str | None = None, on_missing: OnMissing = "error"
    ) -> None:
        super().__init__(path, MiaDpoRule(), image_folder=image_folder, on_missing=on_missing)
