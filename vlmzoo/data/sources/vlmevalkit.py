"""VLMEvalKit's tables of questions, ``.tsv`` with images in base64."""

import ast
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import read_text, rest_of, shown
from vlmzoo.data.sources._records import RecordSource
from vlmzoo.data.sources._rows import folder_of, open_rows
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft, escape_marks
from vlmzoo.data.sources.pictures import OnMissing, PictureFinder

__all__ = ["VlmEvalKitRule", "VlmEvalKitSource"]

_FIELDS = ("index", "question", "answer", "image", "image_path")
_LONGEST_INDEX = 64  # VLMEvalKit's own limit: what is longer is an image
_GRID_FIELDS = ("text", "collect_objects_coordinates", "start_row")
_MOVES = {(-1, 0): "up", (1, 0): "down", (0, -1): "left", (0, 1): "right"}


@dataclass(frozen=True)
class VlmEvalKitRule:
    """What a record of a table says.

    Args:
        lead: stands between the image and the question.
    """

    lead: str = "\n"

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record."""
        question = read_text(record, "question")
        is_grid = all(name in record for name in _GRID_FIELDS)
        return Draft(
            turns=[("user", escape_marks(question))],
            images=_images(record),
            id=record.get("index"),
            reference=_grid_reference(record) if is_grid else record.get("answer"),
            meta=rest_of(record, *_FIELDS),
            lead=self.lead,
        )


@SOURCES.register(
    "vlmevalkit",
    source="VLMEvalKit, docs/en/Development.md (TSV), and S2H, arXiv:2501.02669, evaluation",
    tiny={"path": str(TINY / "vlmevalkit.tsv")},
)
class VlmEvalKitSource(RecordSource):
    """Records ``index, question, answer`` and ``image`` (base64, or the index of the record that has it).

    They have no answer to learn: the samples end with a turn of the user, and ``reference`` is the ``answer``. Other
    columns (options, categories) are in the samples' ``meta``. A table of S2H's Grid Navigation gives as reference what
    the scores of this library walk: the codes of the grid, and the moves.

    Args:
        path: the file, or several.
        lead: stands between the image and the question; S2H's prompts have two ends of line there.
        image_folder: where an ``image_path`` starts, and which none may leave then; default: the folder of the file.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.

    Raises:
        DataError: if a file is missing or holds no records.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str],
        lead: str = "\n",
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
    ) -> None:
        folder = folder_of(path) if image_folder is None else Path(image_folder).expanduser()
        pictures = PictureFinder(folder, on_missing, image_folder is not None)
        super().__init__(_SharedImages(open_rows(path)), VlmEvalKitRule(lead), pictures)


class _SharedImages:
    """Rows of which some say only which row has their image."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows
        self._numbers: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, index: int) -> str:
        return self.rows.place(index)

    def row(self, index: int) -> Mapping[str, Any]:
        """Return a row with its image, of whichever row has it.

        Raises:
            RowError: if no row has the index that it names.
        """
        record = self.rows.row(index)
        image = record.get("image", "")
        if not 0 < len(image) <= _LONGEST_INDEX:
            return record
        if self._numbers is None:
            self._numbers = {self.rows.row(number).get("index", ""): number for number in range(len(self))}
        if image not in self._numbers:
            raise RowError(
                f"`image` must be base64 or the index of another record, but is {shown(image)} instead; there is no "
                "such index.",
                "missing image",
            )
        return {**record, "image": self.rows.row(self._numbers[image]).get("image", "")}


def _images(record: Mapping[str, Any]) -> list[Any]:
    """Return the images of a record, encoded, or their paths; several are written as a list in Python's form."""
    values = _listed(record.get("image", ""))
    if not values:
        return _listed(record.get("image_path", ""))
    try:
        return [{"bytes": base64.b64decode(value, validate=True)} for value in values]
    except binascii.Error as error:
        raise RowError(
            f"`image` must be base64, but is {shown(record['image'])} instead ({error}).", "wrong value"
        ) from error


def _listed(text: str) -> list[str]:
    if not text.startswith("["):
        return [text] if text else []
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise RowError(f"a list of images must be one, but {shown(text)} is not.", "wrong value") from error
    return [str(value) for value in values]


def _grid_reference(record: Mapping[str, Any]) -> str:
    """Return the codes of the grid and the moves, as the scores of Grid Navigation want them."""
    try:
        moves = [_MOVES[step] for step in ast.literal_eval(read_text(record, "answer"))]
    except (ValueError, SyntaxError, KeyError, TypeError) as error:
        raise RowError(
            f"`answer` must be a list of steps such as (0, 1), but is {shown(record['answer'])} instead.", "wrong value"
        ) from error
    return f"{record['text']}{' '.join(moves)}"
