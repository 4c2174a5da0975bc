"""verl's rows: a prompt to be answered in rollouts, its images, and what the reward compares with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._fields import look_up, read_id, read_images, read_turns, refuse_media, rest_of
from vlmzoo.data.sources._records import FileSource, RenamingRule
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.pictures import OnMissing

__all__ = ["VerlRule", "VerlSource"]

_FIELDS = ("id", "prompt", "image", "images")
_REFERENCE = "reward_model.ground_truth"


@dataclass(frozen=True)
class VerlRule:
    """What a row of verl says.

    Args:
        reference: the field that a score compares with, dotted if it lies deeper.
    """

    reference: str = _REFERENCE

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record."""
        refuse_media(record)
        plain = isinstance(record.get("prompt"), str)
        index = look_up(record, "extra_info.index")
        return Draft(
            turns=[("user", record["prompt"])] if plain else read_turns(record, "prompt"),
            images=read_images(record, "images", "image"),
            id=read_id(record) or (str(index) if isinstance(index, (int, str)) else None),
            reference=look_up(record, self.reference),
            meta=rest_of(record, *_FIELDS, self.reference),
        )


@SOURCES.register(
    "verl", source="verl documentation, Prepare Data for Post-Training (0.9)", tiny={"path": str(TINY / "verl.jsonl")}
)
class VerlSource(FileSource):
    """Rows ``{data_source, prompt, images, reward_model: {ground_truth}, extra_info}`` of parquet or JSON.

    ``prompt`` is a list of turns with ``<image>`` marks, or plain text (EasyR1). It has no answer: the samples end
    with a turn of the user. An image is a path, or a mapping with ``bytes``, ``path`` or ``image``. ``data_source``,
    ``extra_info`` and the other columns are in the samples' ``meta``.

    Args:
        path: the file, or several.
        columns: the name in the file, by verl's name, where it has another, e.g. ``{prompt: problem}``.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.
        reference: the column that a score compares with, e.g. ``answer`` for EasyR1.

    Raises:
        DataError: if a file is missing or holds no records.
        MissingExtraError: if it is parquet, and pyarrow is not installed.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str],
        columns: Mapping[str, str] | None = None,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
        reference: str = _REFERENCE,
    ) -> None:
        rule = RenamingRule(VerlRule(reference), dict(columns or {}))
        super().__init__(path, rule, image_folder=image_folder, on_missing=on_missing)
