"""Sources over rows: a format is a rule from a record to a draft, and all else is the same for all formats."""

import logging
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._fields import read_id
from vlmzoo.data.sources._rows import Rows, folder_of, open_rows
from vlmzoo.data.sources._turns import Draft, compose
from vlmzoo.data.sources.pictures import OnMissing, PictureFinder
from vlmzoo.errors import DataError
from vlmzoo.types import Sample

__all__ = ["FileSource", "RecordSource", "RenamingRule", "Rule"]

logger = logging.getLogger(__name__)

Rule: TypeAlias = Callable[[Mapping[str, Any]], Draft]
"""What a format finds in a record; raises `RowError`."""


class RecordSource:
    """The rows of a table as conversations.

    Args:
        rows: the table.
        rule: of the format.
        pictures: finds the images.

    Attributes:
        left_out: the rows that were left out because an image of theirs is missing, by number from 0.

    Raises:
        DataError: if rows with missing images are to be left out, and none remains.
    """

    left_out: array

    def __init__(self, rows: Rows, rule: Rule, pictures: PictureFinder) -> None:
        self.rows = rows
        self.rule = rule
        self.pictures = pictures
        self.left_out = array("Q")
        self._kept = self._with_images() if pictures.on_missing == "skip" else None

    @property
    def size(self) -> int | None:
        """The number of rows."""
        return len(self.rows) if self._kept is None else len(self._kept)

    def sample(self, position: int) -> Sample:
        """Read one row; of its images, no more than the headers.

        Raises:
            RowError: if it is corrupt; the message names the file, the place in it, the record and the fault.
        """
        index = position if self._kept is None else self._kept[position]
        record: Mapping[str, Any] = {}
        try:
            record = self.rows.row(index)
            draft = self.rule(record)
            messages, images = compose(draft)
            found = [self.pictures.find(image) for image in images]
            negative = [self.pictures.find(image) for image in draft.negative_images]
        except RowError as error:
            name = read_id(record)
            raise error.at(self.rows.place(index) + (f" (id `{name}`)" if name else "")) from error
        return Sample(
            messages=messages,
            images=found,
            id=str(position) if draft.id is None else draft.id,
            reference=draft.reference,
            rejected=draft.rejected,
            negative_images=negative,
            meta=draft.meta,
        )

    def _with_images(self) -> array:
        """Return the rows whose image files are all there; those with other faults stay, to be told."""
        kept = array("Q")
        for index in range(len(self.rows)):
            (self.left_out if self._misses_image(index) else kept).append(index)
        if self.left_out:
            logger.warning("%d of %d rows are left out: their images are missing.", len(self.left_out), len(self.rows))
        if not kept:
            raise DataError(
                f"All {len(self.rows)} rows miss images, the first is {self.rows.place(0)}; check `image_folder` "
                f"(`{self.pictures.folder}`)."
            )
        return kept

    def _misses_image(self, index: int) -> bool:
        try:
            draft = self.rule(self.rows.row(index))
            images = compose(draft)[1]
            images = [*images, *draft.negative_images]
        except RowError:
            return False
        return any(self.pictures.is_missing(image) for image in images)


class FileSource(RecordSource):
    """The records of data files as conversations.

    Args:
        path: of the files, see `open_rows`.
        rule: of the format.
        image_folder: where image paths start, and which none may leave; None for the folder of the first file, from
            which whole paths and ``..`` may lead elsewhere.
        on_missing: what becomes of a row whose image is not there.
    """

    def __init__(
        self, path: str | Sequence[str], rule: Rule, *, image_folder: str | None, on_missing: OnMissing
    ) -> None:
        rows = open_rows(path)
        folder = folder_of(path) if image_folder is None else Path(image_folder).expanduser()
        super().__init__(rows, rule, PictureFinder(folder, on_missing, image_folder is not None))


@dataclass(frozen=True)
class RenamingRule:
    """A rule that finds its fields under other names.

    Args:
        rule: of the format.
        columns: the name in the record, by the name in the format.
    """

    rule: Rule
    columns: Mapping[str, str]

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Rename the fields and apply the rule."""
        taken = set(self.columns.values())
        others = {key: value for key, value in record.items() if key not in taken}
        return self.rule({**others, **{field: record.get(column) for field, column in self.columns.items()}})
