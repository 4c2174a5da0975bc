"""OViP's pairs: a question about the first image, two answers, and a second image that contradicts the better one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._records import FileSource
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.llamafactory import SharegptRule
from vlmzoo.data.sources.pictures import OnMissing

__all__ = ["OvipPairsRule", "OvipPairsSource"]

_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}


@dataclass(frozen=True)
class OvipPairsRule:
    """What a record ``{conversations, chosen, rejected, images: [asked about, contradicting]}`` says."""

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record.

        Raises:
            RowError: if a field is missing, or there are neither one nor two images.
        """
        columns = {"messages": "conversations", **{n: n for n in ("images", "chosen", "rejected")}}
        draft = SharegptRule(columns, _TAGS)(record)
        if len(draft.images) not in (1, 2):
            raise RowError(
                f"`images` must be the image that is asked about and, where one is known, another that contradicts the "
                f"better answer, but holds {len(draft.images)}.",
                "image count",
            )
        return replace(draft, images=draft.images[:1], negative_images=draft.images[1:])


@SOURCES.register(
    "ovip_pairs",
    source="OViP, arXiv:2505.15963, OVIP_data of its repository (Apache-2.0), commit 20443e6",
    tiny={"path": str(TINY / "ovip_pairs.json")},
)
class OvipPairsSource(FileSource):
    """Pairs for strategies that show a negative image.

    Args:
        path: the file, or several.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.

    Raises:
        DataError: if a file is missing or holds no records.
    """

    def __init__(
        self, *, path: str | Sequence[str], image_folder: str | None = None, on_missing: OnMissing = "error"
    ) -> None:
        super().__init__(path, OvipPairsRule(), image_folder=image_folder, on_missing=on_missing)
