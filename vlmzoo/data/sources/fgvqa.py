"""FGVQA: pairs and counts of six fine-grained domains, as TWIN's benchmark is published."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmzoo.data.sizing import STANDARD_SIZING, ImageSizing
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._rows import JoinedRows, Rows, folder_of, open_rows
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.pictures import PictureFinder
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.registry import nearest_hint
from vlmzoo.scoring.answer_tag import is_pair
from vlmzoo.types import Sample, user

__all__ = ["FgvqaSource"]

_NUM_IMAGES = {True: 2, False: 4}


@SOURCES.register(
    "fgvqa",
    source="TWIN, arXiv:2512.23592, section 4 (FGVQA), and its released tasks",
    tiny={"path": str(TINY / "twin" / "fgvqa" / "test.jsonl")},
)
class FgvqaSource:
    """Questions with all images first: two for a pair (yes or no), a reference and three candidates for a count.

    Args:
        path: parquet or JSON with ``dataset_source, images, question, answer, question_type, extra``.
        subset: one value of ``dataset_source``; null for all.
        post_prompt: put behind each question, as it stands; the data say how to answer only in part.
        sizing: as for ``twin_pairs``, so that both see the same sizes; null leaves images alone.
        image_folder: where image paths start, and which none may leave then; default: the folder of the file.

    Raises:
        ConfigError: if an option is unknown.
        DataError: if files are missing, no row has a ``dataset_source``, or the subset does not exist.
        MissingExtraError: if pyarrow is not installed.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str],
        subset: str | None = None,
        post_prompt: str = "",
        sizing: Mapping[str, Any] | None = STANDARD_SIZING,
        image_folder: str | None = None,
    ) -> None:
        self.rows = open_rows(path)
        self.post_prompt = post_prompt
        self.sizing = ImageSizing.parse(sizing)
        folder = folder_of(path) if image_folder is None else Path(image_folder).expanduser()
        self._finder = PictureFinder(folder, is_confined=image_folder is not None)
        self.subset_of = self._subsets()
        self.subsets: Mapping[str, int] = dict(Counter(self.subset_of))
        if subset is not None and subset not in self.subsets:
            raise DataError(
                f"`subset` must be one of {', '.join(sorted(self.subsets))}, but is {subset!r} instead."
                f"{nearest_hint(subset, list(self.subsets))}"
            )
        self.numbers = [number for number, name in enumerate(self.subset_of) if subset in (None, name)]

    @property
    def size(self) -> int | None:
        """The number of questions."""
        return len(self.numbers)

    def sample(self, position: int) -> Sample:
        """Read one question.

        Raises:
            RowError: if a field is missing or wrong, or an image is.
        """
        number = self.numbers[position]
        record, place = self.rows.row(number), self.rows.place(number)
        question, answer = record.get("question"), record.get("answer")
        if not isinstance(question, str) or not question.strip() or answer is None:
            raise RowError(f"{place} must have `question` and `answer`, but lacks one.", "missing field")
        question_type = record.get("question_type") or "pairwise"
        images = record.get("images") or ()
        wanted = _NUM_IMAGES[is_pair(question_type)]
        if len(images) != wanted:
            raise RowError(f"{place} must have {wanted} images, but has {len(images)} instead.", "image count")
        return Sample(
            messages=[user(f"{question}{self.post_prompt}", num_images=wanted)],
            images=self._shown(images),
            id=str(number),
            reference=str(answer),
            meta={
                "question_type": str(question_type),
                "subset": self.subset_of[number],
                "extra": _extra(record.get("extra")),
            },
        )

    def _shown(self, images: Sequence[Any]) -> list[Any]:
        found = [self._finder.find(image) for image in images]
        try:
            return found if self.sizing is None else list(self.sizing.apply(found))
        except ConfigError as error:  # an aspect that no size fits
            raise RowError(str(error), "broken image") from error

    def _subsets(self) -> list[str]:
        parts = self.rows.tables if isinstance(self.rows, JoinedRows) else [self.rows]
        names: list[str] = []
        for part in parts:
            read: Any = getattr(part, "columns", None)  # parquet need not read the images for it
            values = [one for (one,) in read(["dataset_source"])] if read else map(_source_of, _records(part))
            for number, name in enumerate(values):
                if not isinstance(name, str):
                    raise DataError(f"{part.place(number)} must have `dataset_source`, but has none; is this FGVQA?")
                names.append(name)
        return names


def _records(rows: Rows) -> Iterator[Mapping[str, Any]]:
    return (rows.row(number) for number in range(len(rows)))


def _source_of(record: Mapping[str, Any]) -> Any:
    return record.get("dataset_source")


def _extra(value: Any) -> dict[str, Any]:
    """Return what a row says beside the question; what is no JSON object is nothing."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}
